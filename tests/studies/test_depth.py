"""Do the claims of depth and saturation say what made-up runs mean, and do their figures draw?"""

import numpy as np
import pytest
from made_up_records import ENVIRONMENT

from bn_repro.figures.style import as_svg
from bn_repro.records.record import FINISHED
from bn_repro.records.writing import RunWriter
from bn_repro.studies.depth import STUDY
from bn_repro.studies.depth.figures import table_of_depths
from bn_repro.studies.depth.measures import DEPTHS, NONLINEARITIES, cells_of
from bn_repro.verdicts.judging import judge_all
from bn_repro.verdicts.rules import NOT_REPRODUCED, NOT_RUN, REPRODUCED

SEEDS, CONTROLS = range(200, 205), range(210, 215)
POINTS = [(0.1, 0.1), (1.0, 0.1)]  # learning rate, deviation


def write_run(root, address, nonlinearity, accuracy, depth=5, lr=0.1, std=1.0, saturated=None):
    writer = RunWriter(root / address)
    network = {"depth": depth, "nonlinearity": nonlinearity, "init_std": std}
    writer.begin({"network": network, "train": {"lr": lr, "steps": 100, "eval_every": 100}}, ENVIRONMENT)
    for step in (0, 100):
        gradients = {f"magnitudes/hidden.{layer}/weight_gradient": 0.1**layer for layer in range(depth)}
        writer.append({"step": step, "accuracy": accuracy if step else 0.1, **gradients})
        if saturated is not None:
            shares = {f"hidden.{layer}/after_norm/saturated": np.float32(saturated if step else 1) for layer in range(depth)}
            writer.append_activations(step, shares)
    writer.finish({"status": FINISHED, "accuracy": accuracy, "steps": 100})
    writer.close()


def suffix(arm, nonlinearity):
    return "" if arm == "goldberg" else f",network.nonlinearity={nonlinearity}"


def arms_of(nonlinearity):
    found = [("none", SEEDS), ("none", CONTROLS), ("batch", SEEDS), ("layer", SEEDS)]
    return [*found, ("goldberg", SEEDS)] if nonlinearity == "tanh" else found


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Write a tier in which 10 layers train without a norm and 20 only with one, of which layer norm alone undoes saturation."""
    root = tmp_path_factory.mktemp("runs")
    for nonlinearity in NONLINEARITIES:
        for arm, seeds in arms_of(nonlinearity):
            actual = "normalized_tanh" if arm == "goldberg" else nonlinearity
            for seed in seeds:
                wobble = 0.002 * (seed * 7 % 3)
                for depth in DEPTHS:
                    fails = arm == "none" and depth == 20
                    for lr, std in POINTS:
                        accuracy = (0.1 if fails else 0.9 if lr == 1 else 0.5) + wobble
                        knobs = f"network.depth={depth},network.init_std={std:g}{suffix(arm, nonlinearity)},train.lr={lr:g}"
                        write_run(root, f"depth/long/{arm}-s{seed},{knobs}", actual, accuracy, depth, lr, std)
                saturated = {"none": 0.6, "batch": 0.6, "layer": 0.1, "goldberg": 0.2}[arm] + wobble * (1 if seed < 205 else 2)
                name = f"{arm}-s{seed}{suffix(arm, nonlinearity)}"
                write_run(root, f"saturation/long/{name}", actual, 0.8 + wobble + (arm != "none") * 0.1, saturated=saturated)
    return root


def test_cells_are_of_one_nonlinearity_and_depth(root):
    cells = cells_of("tanh", 10, root, "depth/goldberg", "long")
    assert sorted(cells) == list(SEEDS) and all(sorted(cell) == POINTS for cell in cells.values())
    assert all(run.config["network.depth"] == 10 for cell in cells.values() for run in cell.values())
    assert cells_of("sigmoid", 10, root, "depth/goldberg", "long") == {}
    assert sorted(cells_of("sigmoid", 3, root, "depth/none", "long")) == [*SEEDS, *CONTROLS]


def test_claims_say_what_the_runs_mean(root):
    answers = {answer.id: answer for answer in judge_all(root, "long", STUDY.claims)}
    gained_nothing = {id for id in answers if "-10-" in id or (id.startswith("saturation-share") and id.endswith("batch"))}
    assert {id for id, answer in answers.items() if answer.verdict == NOT_REPRODUCED} == gained_nothing
    assert all(answer.verdict == REPRODUCED for id, answer in answers.items() if id not in gained_nothing)
    assert answers["depth-sigmoid-20-batch"].estimate == pytest.approx(80) and answers["depth-sigmoid-20-batch"].n == 5
    assert answers["saturation-share-tanh-goldberg"].estimate == pytest.approx(0.4)
    assert all(answer.control_verdict != REPRODUCED for answer in answers.values())
    said = STUDY.in_words(answers)
    assert "80" in said and "0.5" in said and "0.4" in said


def test_nothing_is_said_without_runs(tmp_path):
    answers = {answer.id: answer for answer in judge_all(tmp_path, "long", STUDY.claims)}
    assert {answer.verdict for answer in answers.values()} == {NOT_RUN} and STUDY.in_words(answers) == ""


def test_the_table_counts_the_trials_that_train(root):
    headers, *rows = table_of_depths(root, "long").content
    cells = {row[:2]: row[2:] for row in rows}
    assert headers[2:] == ("3 layers", "10 layers", "20 layers")
    assert cells["tanh", "without BN"][2].startswith("10.") and cells["tanh", "without BN"][2].endswith("% (0 of 2)")
    assert cells["sigmoid", "with BN"][0].startswith("90.") and cells["sigmoid", "with BN"][0].endswith("% (1 of 2)")  # 50 % at seed 200
    assert ("sigmoid", "Goldberg's layer norm") not in cells and ("tanh", "Goldberg's layer norm") in cells


def test_figures_draw(root):
    for figure in STUDY.figures:
        found = figure.draw(root, "long")
        assert found is not None and found.runs, figure.name
        if not isinstance(found.content, tuple):
            assert as_svg(found.content, figure.name).startswith(b"<?xml")
        assert figure.draw(root, "quick") is None
