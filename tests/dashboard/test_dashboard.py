"""Do the workspace and the report show what the records hold, under the names that W&B has for it?"""

import re
import runpy
import sys
from pathlib import Path

import pytest
from made_up_records import ENVIRONMENT, MadeUp, percentiles_moving, write

from bn_repro.comparison.runs import find_all
from bn_repro.dashboard.contents import contents_of, spread
from bn_repro.experiments.wandb_names import as_wandb_row
from bn_repro.records.writing import RunWriter

wr = pytest.importorskip("wandb_workspaces.reports.v2", reason="the extra dashboard is not installed")
from bn_repro.dashboard import dashboard, sweep  # noqa: E402

SCRIPT = "scripts/dashboard.py"
LATER = {
    "gradient_shift/hidden.2/relative": 0.5, "gradient_shift/hidden.2/cosine": 0.9, "landscape/beta_smoothness": 2.0,
    "jacobian/hidden.2/distance_from_one": 0.4, "jacobian/hidden.2/spread": 0.3, "jacobian/hidden.2/batch_largest": 2.0,
    "magnitudes/hidden.2/affine": 1.0, "magnitudes/hidden.2/affine_gradient": 0.1, "magnitudes/hidden.2/weight_gradient": 0.1,
    "later/x": 1.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with runs of two arms, and with a run whose metrics have sections of their own."""
    folder = tmp_path_factory.mktemp("machine")
    moving = percentiles_moving(1)
    for seed in range(2):
        for arm in ("none", "batch"):
            more = LATER if (arm, seed) == ("batch", 0) else {}
            write(folder / "results/runs", f"mnist_sigmoid/quick/{arm}-s{seed}", MadeUp([0.1, 0.5, 0.9, 0.95, 0.96], moving, more=more))
    biased = MadeUp([0.1] * 5, moving, bias_norms=(0, 1, 2, 3, 4))
    write(folder / "results/runs", "faulty_norm/quick/outside_gradient-s0", biased)
    (folder / "results/report/quick/figures").mkdir(parents=True)
    (folder / "results/report/quick/figures/figure-1a.svg").write_text("<svg/>")
    return folder


@pytest.fixture(scope="module")
def made(folder):
    return dashboard.build("", "bn-repro", contents_of("quick", folder / "results/runs", folder / "results/report/quick"))


def series(panel):
    return [getattr(each, "name", each) for each in panel.y]


def test_workspace_has_a_section_for_each_measure(made):
    workspace, _ = made
    sections = {section.name: section.panels for section in workspace.sections}
    assert list(sections) == [
        "Claims", "Accuracy and loss", "Percentiles by layer", "Histograms by layer", "Drift", "Biases (section 2)", "Gradient shift",
        "Landscape", "Jacobian", "Magnitudes", "Later", "Figures",
    ]  # fmt: skip
    assert sections["Claims"][0].table_name == "claims"
    assert [series(panel) for panel in sections["Accuracy and loss"][:3]] == [["eval/accuracy"], ["eval/loss"], ["train/loss"]]
    assert all(panel.groupby == wr.Config("arm") for panel in sections["Accuracy and loss"])
    (percentiles,) = sections["Percentiles by layer"]
    assert series(percentiles) == [f"percentiles/hidden.2/after_norm/p{p}" for p in (15, 50, 85)] and percentiles.x == "step"
    assert [series(panel) for panel in sections["Histograms by layer"]] == [["histograms/hidden.2/after_norm"]]
    tables = {panel.query["summaryTable"]["tableKey"] for panel in sections["Drift"] if isinstance(panel, wr.CustomChart)}
    assert tables == {"drift/mnist_sigmoid", "drift/faulty_norm"}
    assert [panel.media_keys for panel in sections["Figures"]] == [["figures/figure-1a"]]


def test_panels_find_the_names_that_are_logged(made):
    """Every expression of a panel meets the series of a row, and each of the later measures meets a panel."""
    workspace, _ = made
    arrays = {f"hidden.2/after_norm/{measure}": value for measure, value in (("percentiles", [0, 1, 2]), ("std", 1), ("saturated", 0))}
    more = {f"landscape/{measure}": 1.0 for measure in ("loss_min", "gradient_change_max")}
    logged = as_wandb_row({**LATER, **more}, arrays, {"probe": {"percentiles": [15, 50, 85]}})
    expressions = [panel.metric_regex for section in workspace.sections for panel in section.panels if getattr(panel, "metric_regex", None)]
    for expression in expressions:
        assert any(re.search(expression, name) for name in logged), expression
    for name in [*LATER, *more]:
        assert any(re.search(expression, name) for expression in expressions), name


def test_report_has_a_section_for_each_experiment(made):
    _, report = made
    headings = [(type(block), block.text) for block in report.blocks if isinstance(block, (wr.H2, wr.H3))]
    assert headings == [
        (wr.H2, "Claims"), (wr.H2, "Figures"),
        (wr.H2, "faulty_norm"), (wr.H3, "Drift by layer"), (wr.H3, "Histograms: outside_gradient"),
        (wr.H2, "mnist_sigmoid"), (wr.H3, "Drift by layer"), (wr.H3, "Histograms: batch"), (wr.H3, "Histograms: none"),
    ]  # fmt: skip
    grids = {block.text: report.blocks[place + 1] for place, block in enumerate(report.blocks) if isinstance(block, (wr.H2, wr.H3))}
    (runs,) = grids["mnist_sigmoid"].runsets
    for wanted in ("mnist_sigmoid", "quick", "train"):
        assert f"'{wanted}'" in runs.filters
    assert "'none'" in grids["Histograms: none"].runsets[0].filters
    titles = [panel.title for panel in grids["mnist_sigmoid"].panels]
    assert "Accuracy by arm" in titles and "p15, p50, p85 before the nonlinearity, hidden.2" in titles
    assert "gradient_shift: cosine of the two gradients" in titles and "landscape: effective beta-smoothness" in titles
    assert "l2 norm of all biases" in [panel.title for panel in grids["faulty_norm"].panels] and "l2 norm of all biases" not in titles


def test_both_are_encoded_without_a_server(made):
    workspace, report = made
    for model in (workspace._to_model(), report._to_model()):
        assert "percentiles/hidden.2/after_norm/p50" in model.spec.model_dump_json(by_alias=True)
    places = [panel.layout for block in report.blocks if isinstance(block, wr.PanelGrid) for panel in block.panels]
    assert all(place.x + place.w <= 24 for place in places)


def test_runs_that_are_not_mirrored_are_not_shown(folder, tmp_path):
    write(tmp_path, "lr_sweep/quick/none-s0", MadeUp([0.1], percentiles_moving(1)))
    config = tmp_path / "lr_sweep/quick/none-s0/config.yaml"
    config.write_text(config.read_text() + "wandb: {mode: disabled}\n")
    assert contents_of("quick", tmp_path, tmp_path).experiments == ()


def test_a_users_own_ablations_are_left_out(tmp_path):
    """Further overrides, and arms that the experiment does not sweep; and W&B's group of the former is none that is drawn."""
    for name in ("none-s0", "batch-s1", "batch-s0,train.lr=0.5", "layer-s0", "layer-s0,network.depth=5"):
        write(tmp_path, f"mnist_sigmoid/quick/{name}", MadeUp([0.1, 0.5], percentiles_moving(1)))
    write(tmp_path, "faulty_norm/quick/none-s0,train.lr=0.5", MadeUp([0.1], percentiles_moving(1)))
    contents = contents_of("quick", tmp_path, tmp_path)
    assert [(each.experiment, each.arms) for each in contents.experiments] == [("mnist_sigmoid", ("batch", "none"))]
    workspace, report = dashboard.build("", "bn-repro", contents)
    assert "['report', 'mnist_sigmoid']" in str(workspace._to_model().spec.model_dump(by_alias=True, mode="json"))
    filters = [grid.runsets[0].filters for grid in report.blocks if isinstance(grid, wr.PanelGrid)]
    assert any("batch" in each and "none" in each and "layer" not in each for each in filters)


def write_sweep(root):
    names = [f"none-s{seed},train.lr={lr}" for seed in (0, 1) for lr in (0.1, 0.5)]
    for name in names:
        writer = RunWriter(root / "mnist_sigmoid/quick" / name)
        writer.begin({"norm": "none", "train": {"lr": float(name.rpartition("=")[2])}}, ENVIRONMENT)
        writer.append({"step": 0, "accuracy": 0.1})
        writer.finish({"status": "finished", "accuracy": 0.1, "steps": 0})
        writer.close()
    return names


def test_a_sweep_of_a_users_own_has_a_report(tmp_path):
    names = write_sweep(tmp_path)
    (report,) = sweep.build("", "bn-repro", find_all(tmp_path))
    (grid,) = (block for block in report.blocks if isinstance(block, wr.PanelGrid))
    (runset,) = grid.runsets
    assert (
        runset.groupby == ["config.train.lr"] and "mnist_sigmoid (own)" in runset.filters and all(name in runset.filters for name in names)
    )
    assert "Final accuracy against train.lr" in [panel.title for panel in grid.panels]
    assert "train.lr" in report._to_model().spec.model_dump_json(by_alias=True)
    assert next(dashboard.outline(report)) == "report 'Sweep of train.lr: mnist_sigmoid'"


def test_layers_of_a_deep_network_are_spread():
    assert spread(list("abc"), 6) == list("abc")
    assert spread(list("abcdefghijkl"), 6) == list("acehjl") and spread(list("abcdefg"), 3) == list("adg")


@pytest.fixture
def call(folder, monkeypatch, capsys, tmp_path):
    """Return a function that runs the script where the runs are, without a login, and returns exit code, output and errors."""
    script = str(Path(dashboard.__file__).parents[2] / SCRIPT)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(script, run_name="__main__")
        said = capsys.readouterr()
        return stop.value.code, said.out, said.err.splitlines()

    return run


def test_a_sweep_is_told_without_push(call, tmp_path):
    write_sweep(tmp_path)
    code, said, _ = call("--runs", str(tmp_path / "mnist_sigmoid/quick/*"))
    assert code == 0 and "Accuracy by setting" in said and "workspace" not in said
    code, _, (line,) = call("--runs", str(tmp_path / "mnist_sigmoid/quick/none-s0,train.lr=0.1"))
    assert code == 2 and "the runs given differ in no knob but the seed" in line
    code, _, (line,) = call("--runs", "mnist/quick/*")
    assert code == 2 and "no runs there" in line


def test_without_push_it_tells_what_it_would_make(call):
    code, said, _ = call("--tier", "quick")
    assert code == 0 and "Accuracy by arm" in said and "nothing was sent" in said


@pytest.mark.parametrize(
    "arguments, answer", [(("--tier", "quick", "--push"), "wandb login"), (("--tier", "gpu"), "./scripts/reproduce.sh --tier gpu")]
)
def test_what_is_missing_is_told_in_one_line(call, arguments, answer):
    code, _, (line,) = call(*arguments)
    assert code == 2 and answer in line


def test_without_the_package_it_says_how_to_get_it(call, monkeypatch):
    monkeypatch.delitem(sys.modules, "bn_repro.dashboard.dashboard")
    monkeypatch.delattr("bn_repro.dashboard.dashboard")
    for name in [name for name in sys.modules if name.split(".")[0] == "wandb_workspaces"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    code, _, (line,) = call("--tier", "quick")
    assert code == 2 and "wandb-workspaces is not installed" in line
