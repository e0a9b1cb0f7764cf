"""Do the effects say what made-up runs mean, is the grid the study's, and do figure and table draw?"""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from made_up_records import ENVIRONMENT

from bn_repro.figures.style import as_svg
from bn_repro.launcher.grids import configs_of
from bn_repro.records.record import DIVERGED, FINISHED, address_of
from bn_repro.records.writing import RunWriter
from bn_repro.studies.factorial import (
    BASE,
    BASE_RATE,
    BATCH,
    CELL_NAME,
    DECAYS,
    EFFECTS,
    EXPERIMENT,
    FAST,
    HIGHER_RATE,
    HIGHEST_RATE,
    LESS_L2,
    NO_RESPONSES,
    OF_RATE,
    RATES,
    STUDY,
    Cell,
    cells_of,
    weighted,
)
from bn_repro.verdicts.judging import judge_all
from bn_repro.verdicts.rules import NOT_RUN, REPRODUCED

SEEDS = range(200, 206)
CELLS = [
    *(Cell(lr, ratio) for lr in RATES for ratio in DECAYS),
    *(BASE._replace(override=override) for override in (NO_RESPONSES, LESS_L2)),
]
NUM_IMAGES = 400


def address(norm, cell, seed):
    parts = [f"train.final_lr_ratio={cell.ratio:g}", f"train.lr={cell.lr:g}", *filter(None, [cell.override])]
    return f"{EXPERIMENT}/long/" + ",".join([f"{norm}-s{seed}", *sorted(parts)])


def accuracy_of(norm, cell):
    """With BN the higher rate gains four points and the faster decay two; without BN the higher rate costs ten, the highest fails."""
    if norm == "none":
        return (
            {BASE_RATE: 0.5, HIGHER_RATE: 0.4, HIGHEST_RATE: 0.1}[cell.lr] + 0.01 * (cell.ratio == FAST) + 0.03 * (cell.override == LESS_L2)
        )
    return (
        {BASE_RATE: 0.55, HIGHER_RATE: 0.59, HIGHEST_RATE: 0.5}[cell.lr]
        + 0.02 * (cell.ratio == FAST)
        - 0.01 * (cell.override == NO_RESPONSES)
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for norm in ("none", "batch"):
        for cell in CELLS:
            for seed in SEEDS:
                writer = RunWriter(root / address(norm, cell, seed))
                writer.begin({"data": {"name": "cifar10"}, "train": {"steps": 100}}, ENVIRONMENT)
                writer.append({"step": 0, "accuracy": 0.1})
                num_right = round(NUM_IMAGES * accuracy_of(norm, cell)) + seed * 7 % 3
                summary = {"status": DIVERGED, "accuracy": 0.1, "steps": 100}
                if (norm, cell.lr) != ("none", HIGHEST_RATE):
                    writer.keep_correct(np.arange(NUM_IMAGES) < num_right)
                    summary |= {"status": FINISHED, "accuracy": num_right / NUM_IMAGES, "num_test_images": NUM_IMAGES}
                writer.finish(summary)
                writer.close()
    return root


def test_the_grid_is_what_the_study_compares():
    configs = configs_of(f"{EXPERIMENT}/long")
    assert {address_of(config) for config in configs} == {
        address(norm, cell, seed) for norm in ("none", "batch") for cell in CELLS for seed in SEEDS
    }
    assert all(CELL_NAME.fullmatch(config.name) for config in configs)


def test_claims_say_what_the_runs_mean(root):
    answers = {answer.id: answer for answer in judge_all(root, "long", STUDY.claims)}
    assert {name: answer.estimate for name, answer in answers.items()} == pytest.approx(
        {"factorial-rate": 4, "factorial-rate-and-norm": 14, "factorial-decay": 2}
    )
    assert {answer.verdict for answer in answers.values()} == {REPRODUCED}
    assert re.search("gains 4.* gains 2.*larger by 14", STUDY.in_words(answers))


def test_a_users_own_ablation_takes_no_seed_away(root, tmp_path_factory):
    assert sorted(cells_of(root, BATCH, "long")) == [*SEEDS]
    assert not CELL_NAME.fullmatch("batch-s200,network.width=0.25,train.final_lr_ratio=0.5,train.lr=0.008")


def scored(*is_correct):
    return SimpleNamespace(is_correct=np.array(is_correct, bool), summary={"status": FINISHED, "accuracy": np.mean(is_correct)})


def test_an_effect_is_sure_over_the_images_that_its_cells_share():
    """By hand: the higher rate wins image 2 at the slow decay and image 3 at the fast one, each of which counts half."""
    slow, fast = DECAYS
    seed = {
        Cell(BASE_RATE, slow): scored(1, 0, 0, 0),
        Cell(HIGHER_RATE, slow): scored(1, 1, 0, 0),
        Cell(BASE_RATE, fast): scored(1, 0, 0, 0),
        Cell(HIGHER_RATE, fast): scored(1, 0, 1, 0),
    }
    found = weighted([(OF_RATE, [seed, seed])])
    assert found.values == pytest.approx([25, 25])
    assert found.variance_besides == pytest.approx(1e4 * np.var([0, 0.5, 0.5, 0], ddof=1) / 4)
    for run in seed.values():
        run.is_correct = None
    assert weighted([(OF_RATE, [seed, seed])]).variance_besides > found.variance_besides * 4 / 10_000  # 10,000 images where nobody counts


def test_nothing_is_said_without_runs(tmp_path):
    answers = {answer.id: answer for answer in judge_all(tmp_path, "long", STUDY.claims)}
    assert {answer.verdict for answer in answers.values()} == {NOT_RUN} and STUDY.in_words(answers) == ""


def test_figure_and_table(root):
    figure, table = (one.draw(root, "long") for one in STUDY.figures)
    assert len(figure.runs) == len(table.runs) == 2 * len(CELLS) * len(SEEDS) and figure.note == "n = 6."
    assert as_svg(figure.content, "factorial").startswith(b"<?xml")
    rows = {row[0]: row[1:] for row in table.content[1:]}
    assert rows.keys() == EFFECTS.keys()
    assert [cell.split()[0] for cell in rows["a fifth of the L2 coefficient, at the base"]] == ["3", "0", "-3"]
    assert [cell.split()[0] for cell in rows["no local response normalization, at the base"]] == ["0", "-1", "-1"]
    assert [one.draw(root, "quick") for one in STUDY.figures] == [None, None]
