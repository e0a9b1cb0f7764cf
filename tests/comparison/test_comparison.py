"""Does a user's own sweep come out whole: which runs, by which knobs, with which numbers, as table, figure and CSV?"""

import csv
import dataclasses
import math
import shutil
from xml.etree import ElementTree

import pytest
from composed import composed
from made_up_records import ENVIRONMENT

import bn_repro
from bn_repro.comparison import figure, numbers
from bn_repro.comparison.command import main
from bn_repro.comparison.runs import find_all
from bn_repro.comparison.settings import differing_knobs, in_words, knobs_named, settings_of
from bn_repro.launcher.grids import run_name
from bn_repro.records import archive, files
from bn_repro.records.record import DIVERGED, FINISHED, run_folder
from bn_repro.records.writing import RunWriter

FIRST = ("experiment=mnist_sigmoid/smoke", "wandb.mode=disabled")


def write(root, accuracies, *overrides, status=FINISHED, is_complete=True, seconds=2.0, spacing=100):
    """Write a run of the smoke tier that measured these accuracies, every `spacing` steps."""
    overrides = (*FIRST, *overrides, f"results_folder={root}")
    config = dataclasses.replace(composed(*overrides), results_folder=str(root))
    config.name = run_name(config, overrides)
    writer = RunWriter(run_folder(config))
    writer.begin(dataclasses.asdict(config), ENVIRONMENT)
    for row, accuracy in enumerate(accuracies):
        writer.append({"step": spacing * row, "accuracy": accuracy, "loss": 1 - accuracy, "train_loss": None if row == 0 else 0.5})
    if is_complete:
        measured = {"status": status, "accuracy": accuracies[-1] + 0.01, "steps": spacing * (len(accuracies) - 1), "seconds": seconds}
        writer.finish({**measured, "first_bad_step": None, "scale_invariance": {"output": 1e-6}})
    writer.close()
    return run_folder(config)


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Two norms at three rates of depth 9, three seeds each, in `results/runs` of the working folder."""
    monkeypatch.chdir(tmp_path)
    for norm, gain in (("none", 0.0), ("batch", 0.1)):
        for lr in (0.1, 1.0, 10.0):
            for seed in range(3):
                accuracies = [0.1, 0.7 + gain, 0.5 + gain + 0.01 * seed]
                write(files.RUNS, accuracies, f"norm={norm}", f"seed={seed}", "network.depth=9", f"train.lr={lr}")
    return tmp_path


def test_runs_are_found_by_address_folder_and_glob_here_or_in_the_results(sweep, monkeypatch):
    name = "none-s0,network.depth=9,train.lr=1.0"
    addresses = [
        f"mnist_sigmoid/smoke/{name}",
        f"results/runs/mnist_sigmoid/smoke/{name}",
        sweep / files.RUNS / "mnist_sigmoid" / "smoke" / name,
        "mnist_sigmoid/smoke/none-s0*lr=1.0",
        "**/none-s0,network.depth=9,train.lr=1.0",
    ]
    for address in addresses:
        (run,) = find_all(address)
        assert run.address == f"mnist_sigmoid/smoke/{name}"
    assert len(find_all("mnist_sigmoid")) == len(find_all("results")) == len(find_all(".")) == 18
    assert len(find_all("mnist_sigmoid/smoke/batch*", "mnist_sigmoid/smoke/*s0*")) == 12, "each once"
    with pytest.raises(ValueError, match="nowhere: no runs there"):
        find_all("mnist_sigmoid", "nowhere")


def test_a_name_with_brackets_is_a_name_before_it_is_a_glob(tmp_path):
    folder = write(tmp_path, [0.1, 0.5], "norm=none", "seed=0", "probe.percentiles=[10,50,90]")
    assert "[" in folder.name
    assert [run.folder for run in find_all(folder)] == [folder]


def test_runs_in_an_archive_are_found(sweep):
    content = {str(path.relative_to(files.RUNS)): path.read_bytes() for path in files.RUNS.rglob("*") if path.is_file()}
    published = sweep / "published"
    published.mkdir()
    (published / "mnist_sigmoid.tar.xz").write_bytes(archive.archived(content))
    for pattern in ("published", "published/*.tar.xz", "published/mnist_sigmoid.tar.xz/mnist_sigmoid/smoke"):
        assert len(bn_repro.load_runs(pattern)) == 18
    rows = bn_repro.load_runs("published/mnist_sigmoid.tar.xz/mnist_sigmoid/smoke/none-s1,network.depth=9,train.lr=10.0")
    assert [row["accuracy"] for row in rows] == [pytest.approx(0.52)]


def test_load_runs_returns_flat_dicts(sweep):
    write(files.RUNS, [0.1], "norm=none", "seed=9", is_complete=False)
    rows = bn_repro.load_runs("mnist_sigmoid/smoke/*")
    assert len(rows) == 18, "complete ones"
    row = next(row for row in rows if row["address"].endswith("batch-s2,network.depth=9,train.lr=0.1"))
    assert (row["norm"], row["seed"], row["train.lr"], row["network.depth"]) == ("batch", 2, 0.1, 9)
    assert (row["accuracy"], row["seconds"], row["scale_invariance.output"]) == (pytest.approx(0.63), 2.0, 1e-6)
    assert not any(isinstance(value, dict) for row in rows for value in row.values())
    assert not any("sha256" in name for name in row), "digests are no results"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        bn_repro.nothing  # noqa: B018


def test_differing_knobs_leave_out_what_others_say(sweep, tmp_path):
    assert differing_knobs(find_all("mnist_sigmoid")) == ["norm", "train.lr"]
    assert differing_knobs(find_all("mnist_sigmoid/smoke/batch*lr=1.0")) == []
    other = tmp_path / "other"
    write(other, [0.1, 0.5], "norm=none", "seed=0", "threads=2", "data.folder=elsewhere")
    write(other, [0.1, 0.5], "arm=plain_best", "seed=0")  # sets network.init_std, train.lr and train.momentum
    assert differing_knobs(find_all(other)) == ["arm"]
    write(other, [0.1, 0.5], "arm=plain_best", "seed=0", "train.momentum=0.5")
    assert differing_knobs(find_all(other)) == ["arm", "train.momentum"]


def test_one_knob_changed_at_a_time_shows_all_of_them(tmp_path):
    write(tmp_path, [0.1, 0.5], "norm=none", "seed=0", "network.depth=5", "train.lr=0.1")
    write(tmp_path, [0.1, 0.6], "norm=none", "seed=0", "network.depth=9", "train.lr=0.5")
    assert differing_knobs(find_all(tmp_path)) == ["network.depth", "train.lr"]


def test_knobs_may_be_given_by_their_last_part(sweep):
    runs = find_all("mnist_sigmoid")
    assert knobs_named("lr,depth,train.steps", runs) == ["train.lr", "network.depth", "train.steps"], "of base.lr and train.lr one differs"
    with pytest.raises(ValueError, match="--by depht: depht is no knob of these runs; did you mean network.depth"):
        knobs_named("depht", runs)
    with pytest.raises(ValueError, match="lr may be train.lr or base.lr"):
        knobs_named("lr", runs[:1])


def test_numbers_of_a_setting(sweep):
    settings = settings_of(find_all("mnist_sigmoid"), ["norm", "train.lr"])
    assert [setting.values for setting in settings] == [(norm, lr) for norm in ("batch", "none") for lr in (0.1, 1.0, 10.0)]
    line = numbers.line_of(settings[3], "accuracy")
    assert in_words(line.setting, ["norm", "train.lr"]) == "norm none, lr 0.1"
    half = 4.302653 * 0.01 / 3**0.5  # Student's for two degrees of freedom, deviation 0.01
    assert (line.mean, line.low, line.high, line.n) == pytest.approx((0.52, 0.52 - half, 0.52 + half, 3), abs=1e-6)
    assert (line.best_step, line.seconds) == (100, 2)
    assert numbers.line_of(settings[3], "loss").best_step == 100, "less of a loss is better"
    assert numbers.line_of(settings[3], "scale_invariance.output").mean == pytest.approx(1e-6)
    assert numbers.line_of(settings[3], "train_loss").mean == 0.5, "the last row's, where the summary has none"


def test_an_accuracys_interval_stays_between_0_and_1(tmp_path):
    for seed, accuracy in enumerate((0.1, 0.9)):
        write(tmp_path, [accuracy], "norm=none", f"seed={seed}")
    (setting,) = settings_of(find_all(tmp_path), [])
    line = numbers.line_of(setting, "accuracy")
    assert (line.low, line.high) == (0, 1)
    assert numbers.line_of(setting, "loss").low < 0, "other metrics end nowhere"


def test_the_command_prints_a_table_and_writes_figure_and_csv(sweep, capsys):
    assert main(["mnist_sigmoid", "--figure", "made/sweep.svg"]) == 0
    head, header, *rows, last = capsys.readouterr().out.splitlines()
    assert head == "18 runs by norm, train.lr"
    assert header.split() == ["norm", "lr", "accuracy", "[95", "%]", "n", "best", "step", "time"]
    assert rows[0].split() == ["batch", "0.1", "62.00", "[59.52,", "64.48]", "%", "3", "100", "0:02"]
    assert len(rows) == 6 and last == "figure: made/sweep.svg, table: made/sweep.csv"
    with open("made/sweep.csv") as file:
        table = list(csv.DictReader(file))
    assert [float(row["accuracy_mean"]) for row in table] == pytest.approx([0.62] * 3 + [0.52] * 3)
    assert table[5]["norm"] == "none" and table[5]["train.lr"] == "10.0" and table[5]["n"] == "3"
    assert ElementTree.parse("made/sweep.svg").getroot().tag.endswith("svg")
    before = (sweep / "made" / "sweep.svg").read_bytes()
    assert main(["mnist_sigmoid", "--figure", "made/sweep.svg"]) == 0
    assert (sweep / "made" / "sweep.svg").read_bytes() == before


def test_the_command_says_what_it_pools_and_leaves_out(sweep, capsys):
    write(files.RUNS, [0.1], "norm=none", "seed=9", is_complete=False)
    write(files.RUNS, [0.1, 0.2], "norm=none", "seed=5", "network.depth=9", "train.lr=1.0", status=DIVERGED)
    assert main(["mnist_sigmoid", "--by", "norm", "--figure", "c.png"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "19 runs by norm, pooled over train.lr; 1 more not complete"
    assert "10 (1 diverged)" in out[3]
    assert (sweep / "c.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["mnist_sigmoidd"], "no runs there"),
        (["mnist_sigmoid", "--by", "nrm"], "did you mean norm"),
        (["mnist_sigmoid", "--metric", "acuracy"], "did you mean accuracy"),
        (["mnist_sigmoid", "--figure", "figure.gif"], "must end in .svg, .png, .pdf"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(sweep, capsys, arguments, message):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
    assert not files.COMPARISON.exists()


def lines_drawn(lines, knobs, metric):
    (axis,) = figure.draw(lines, knobs, metric).axes
    return axis, [(line.get_label(), list(line.get_xdata()), list(line.get_ydata())) for line in axis.lines]


def test_three_values_of_a_knob_are_an_axis(sweep):
    knobs = ["norm", "train.lr"]
    lines = [numbers.line_of(setting, "accuracy") for setting in settings_of(find_all("mnist_sigmoid"), knobs)]
    axis, drawn = lines_drawn(lines, knobs, "accuracy")
    assert axis.get_xlabel() == "train.lr" and axis.get_xscale() == "log"
    assert [label for label, _, _ in drawn] == ["norm batch", "norm none"]
    assert drawn[0][1] == [0.1, 1, 10] and drawn[0][2] == pytest.approx([0.62] * 3)


def test_fewer_are_curves_over_the_steps_that_all_runs_have(tmp_path):
    write(tmp_path, [0.1, 0.2, 0.3, 0.4, 0.5], "norm=none", "seed=0", spacing=50)
    write(tmp_path, [0.3, 0.5, 0.7], "norm=none", "seed=1", spacing=100)
    write(tmp_path, [0.1, 0.9], "norm=batch", "seed=0")
    lines = [numbers.line_of(setting, "accuracy") for setting in settings_of(find_all(tmp_path), ["norm"])]
    axis, drawn = lines_drawn(lines, ["norm"], "accuracy")
    assert axis.get_xlabel() == "training steps"
    assert drawn[0] == ("norm batch (n = 1)", [0, 100], [0.1, 0.9])
    assert drawn[1][:2] == ("norm none (n = 2)", [0, 100, 200]) and drawn[1][2] == pytest.approx([0.2, 0.4, 0.6])


def test_a_metric_without_a_curve_is_drawn_as_points(tmp_path):
    for seed in range(2):
        write(tmp_path, [0.1, 0.5], "norm=none", f"seed={seed}", seconds=2.0 + seed)
    write(tmp_path, [0.1, 0.5], "norm=batch", "seed=0", seconds=4.0)
    lines = [numbers.line_of(setting, "seconds") for setting in settings_of(find_all(tmp_path), ["norm"])]
    axis, drawn = lines_drawn(lines, ["norm"], "seconds")
    assert [label.get_text() for label in axis.get_xticklabels()] == ["norm batch", "norm none"]
    assert axis.containers[1].lines[0].get_ydata().tolist() == [2.5]


def test_a_diverged_run_does_not_end_at_its_last_finite_row(tmp_path):
    for seed in range(2):
        write(tmp_path, [0.1, 0.5], "norm=none", f"seed={seed}", "train.lr=10", status=DIVERGED)
        write(tmp_path, [0.1, 0.5], "norm=none", f"seed={seed}", "train.lr=1")
    good, lost = (numbers.line_of(setting, "loss") for setting in settings_of(find_all(tmp_path), ["train.lr"]))
    assert (good.n, good.mean) == (2, 0.5) and (lost.n, lost.num_diverged) == (0, 2) and math.isnan(lost.mean)


def test_the_same_run_in_two_places_is_one(sweep, capsys):
    shutil.copytree(files.RUNS / "mnist_sigmoid", sweep / "copy" / "mnist_sigmoid")
    write(sweep / "other", [0.1, 0.9], "norm=none", "seed=0", "network.depth=9", "train.lr=1.0", "threads=2")
    assert main(["results", "copy", "other", "--by", "norm", "--figure", "c.svg"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("18 runs by norm") and err.count("once more, of the same knobs and seed") == 19
    assert len(bn_repro.load_runs("results", "copy")) == 36


def test_a_foreign_archive_and_an_empty_folder_are_in_nobodys_way(sweep, capsys):
    (files.RUNS / "dataset.tar.xz").write_bytes(b"images")
    (sweep / "mnist_sigmoid").mkdir()
    assert len(find_all("mnist_sigmoid")) == len(find_all(files.RUNS)) == 18
    assert "no runs can be read from it: results/runs/dataset.tar.xz" in capsys.readouterr().err


def test_a_run_that_ended_early_does_not_end_its_settings_curve(tmp_path):
    for seed in range(2):
        write(tmp_path, [0.1, 0.3, 0.5], "norm=none", f"seed={seed}")
    write(tmp_path, [0.1, 0.1], "norm=none", "seed=2", status=DIVERGED)
    lines = [numbers.line_of(setting, "accuracy") for setting in settings_of(find_all(tmp_path), ["norm"])]
    _, drawn = lines_drawn(lines, ["norm"], "accuracy")
    assert drawn == [("norm none (n = 2, without 1 that ended earlier)", [0, 100, 200], [0.1, 0.3, 0.5])]


def test_where_the_axis_has_no_number_the_mean_is_a_level_line(tmp_path):
    for clip in ("0.1", "0.5", "1", "null"):
        write(tmp_path, [0.1, 0.5], "norm=none", "seed=0", f"train.clip_norm={clip}")
    write(tmp_path, [0.1, 0.7], "norm=batch", "seed=0")
    runs = find_all(tmp_path)
    knobs = differing_knobs(runs)
    _, drawn = lines_drawn([numbers.line_of(setting, "accuracy") for setting in settings_of(runs, knobs)], knobs, "accuracy")
    levels = {label: y for label, x, y in drawn if x == [0, 1]}
    assert {label: x for label, x, _ in drawn if x != [0, 1]} == {"norm none": [0.1, 0.5, 1]}
    assert levels == {"norm batch, clip_norm -": pytest.approx([0.71] * 2), "norm none, clip_norm -": pytest.approx([0.51] * 2)}


def test_many_settings_look_different():
    assert len({tuple(figure.style_of(number).items()) for number in range(32)}) == 32


def test_what_a_swept_knob_sets_is_no_knob_of_its_own(tmp_path):
    """`train.lr` follows from the arm and `base.lr`: one curve an arm."""
    for arm in ("inception", "bn_x5"):
        for lr in (0.01, 0.02, 0.04):
            write(tmp_path, [0.1, 0.5], "experiment=inception/smoke", f"arm={arm}", "seed=0", f"base.lr={lr}")
    runs = find_all(tmp_path)
    assert differing_knobs(runs) == ["arm", "base.lr"]
    axis, drawn = lines_drawn(
        [numbers.line_of(setting, "accuracy") for setting in settings_of(runs, ["arm", "base.lr"])], ["arm", "base.lr"], "accuracy"
    )
    assert axis.get_xlabel() == "base.lr"
    assert [(label, x) for label, x, _ in drawn] == [("arm bn_x5", [0.01, 0.02, 0.04]), ("arm inception", [0.01, 0.02, 0.04])]


def test_knobs_without_effect_are_no_settings(tmp_path):
    for seed in range(2):
        write(tmp_path, [0.1, 0.5], "norm=none", f"seed={seed}", f"data.workers={2 * seed}", f"threads={seed + 1}")
    assert differing_knobs(find_all(tmp_path)) == []


def test_where_a_metric_is_best():
    assert all(map(numbers.is_less_better, ("loss", "gradient_shift/hidden.1/shift", "gradient_shift/hidden.1/relative")))
    assert not any(map(numbers.is_less_better, ("accuracy", "gradient_shift/hidden.1/cosine", "normalized/accuracy")))


def test_a_metric_that_is_nowhere_a_number_is_said_to_be_none(tmp_path):
    write(tmp_path, [0.1], "norm=none", "seed=0")
    with pytest.raises(ValueError, match="train_loss: no run ends with a number of it; choices: (?!.*train_loss)"):
        numbers.check_metric("train_loss", find_all(tmp_path))
