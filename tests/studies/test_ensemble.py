"""Are predictions averaged as Figure 4 says, and do the claims say what made-up predictions mean?"""

import numpy as np
import pytest
from made_up_records import ENVIRONMENT

from bn_repro.launcher.grids import configs_of
from bn_repro.records import files
from bn_repro.records.packing import packed
from bn_repro.records.reading import CROPS, LABELS, SINGLE
from bn_repro.records.record import FINISHED, address_of
from bn_repro.records.writing import RunWriter
from bn_repro.studies.ensemble import ARM, MEMBERS, STUDY, alone, ensembles, is_right, together
from bn_repro.verdicts.judging import judge_all
from bn_repro.verdicts.rules import NOT_RUN, PARTLY, REPRODUCED

SEEDS = range(200, 206)
NUM = 1_000
LABEL_OF_ALL = np.zeros(NUM, int)


def write_run(root, member, seed, probabilities):
    writer = RunWriter(root / f"inception_ensemble/long/bn_x30-s{seed},{member}")
    writer.begin({"data": {"name": "cifar10", "kept_predictions": NUM}, "train": {"steps": 100}}, ENVIRONMENT)
    writer.append({"step": 0, "accuracy": 0.1})
    arrays = {LABELS: LABEL_OF_ALL, **{name: (255 * np.sqrt(array)).round().astype(np.uint8) for name, array in probabilities.items()}}
    files.write_atomically(writer.folder / files.PREDICTIONS, packed(arrays))
    writer.finish({"status": FINISHED, "accuracy": 0.5, "steps": 100})
    writer.close()


def surely(is_right):
    """Return (N, 10): 0.6 for the label where right, else 0.55 for another and 0.45 for the label."""
    found = np.zeros((len(is_right), 10))
    found[:, 0] = np.where(is_right, 0.6, 0.45)
    found[:, 1] = np.where(is_right, 0.2, 0.55)
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Write members wrong on a sixth of the images each, on others each, and with crops on half as many."""
    root = tmp_path_factory.mktemp("runs")
    for seed in SEEDS:
        for number, member in enumerate(MEMBERS):
            wrong = (np.arange(NUM) + seed) % 6 == number
            wrong_on_crops = wrong & ((np.arange(NUM) + 7 * seed) % 12 < 6)
            write_run(root, member, seed, {SINGLE: surely(~wrong), CROPS: surely(~wrong_on_crops)})
    return root


def test_the_grid_is_the_six_members_of_each_seed():
    addresses = {address_of(config) for config in configs_of("inception_ensemble/long")}
    assert addresses == {f"inception_ensemble/long/bn_x30-s{seed},{member}" for seed in SEEDS for member in MEMBERS}


def test_is_right_counts_the_likelier():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])
    assert is_right(probabilities, np.array([0, 0, 1]), 1).tolist() == [1, 0, 0.5]
    assert is_right(probabilities, np.array([2, 0, 2]), 2).tolist() == [0, 0, 0]
    assert is_right(probabilities, np.array([1, 2, 0]), 2).tolist() == [1, 1, 1]
    assert is_right(np.array([[0.7, 0.3, 0, 0, 0]]), np.array([3]), 4).tolist() == [2 / 3]


def test_probabilities_are_averaged_over_networks(root):
    (runs, *_) = ensembles(root, ARM, "long").values()
    assert len(runs) == 6 and alone(runs, SINGLE, 1).mean() == pytest.approx(5 / 6, abs=0.01)
    assert together(runs, SINGLE, 1).mean() == 1  # five of six are right on every image


def test_claims_say_what_the_predictions_mean(root):
    answers = {answer.id: answer for answer in judge_all(root, "long", STUDY.claims)}
    assert answers["ensemble-crops"].estimate == pytest.approx(100 / 12, abs=1) and answers["ensemble-crops"].verdict == REPRODUCED
    assert answers["ensemble-both"].estimate == pytest.approx(100 / 6, abs=1)
    assert answers["ensemble-both-top-5"].estimate == 0 and answers["ensemble-both-top-5"].verdict not in (REPRODUCED, PARTLY)
    assert "Many crops gain 8" in STUDY.in_words(answers)


def test_the_table_stands_beside_the_papers(root):
    (figure,) = STUDY.figures
    drawn = figure.draw(root, "long")
    assert len(drawn.runs) == 36 and drawn.content[1][3] == "25.2 / 7.82" and drawn.content[4][1:] == ("0.00", "0.00", "20.1 / 4.9")
    assert figure.draw(root, "quick") is None


def test_nothing_is_said_without_runs(tmp_path):
    answers = {answer.id: answer for answer in judge_all(tmp_path, "long", STUDY.claims)}
    assert {answer.verdict for answer in answers.values()} == {NOT_RUN} and STUDY.in_words(answers) == ""
