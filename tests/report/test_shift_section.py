"""Does the section on covariate shift say what the verdicts say, draw what the records hold, and say nothing without records?"""

import re

import numpy as np
import pytest
from made_up_shifts import LAYERS, STEPS, write_shift_tier
from matplotlib.figure import Figure

from bn_repro.report.distribution_figures import central_range, distances_to_final, grid_of
from bn_repro.report.figures import as_svg, new_figure
from bn_repro.report.shift_figures import final_spectra
from bn_repro.report.shift_section import PICTURES, shift_sections
from bn_repro.studies.covariate_shift import COVARIATE_SHIFT
from bn_repro.studies.shift import shift_over_steps
from bn_repro.verdicts.judging import judge_all
from bn_repro.verdicts.selection import runs_of


@pytest.fixture
def tier(tmp_path):
    write_shift_tier(tmp_path, "quick")
    return tmp_path


def sections_of(root):
    return shift_sections(root, "quick", judge_all(root, "quick", COVARIATE_SHIFT))


@pytest.fixture
def plain(tier):
    return runs_of(tier, "covariate_shift/none", "quick")[0]


def test_nothing_is_said_without_records(tmp_path):
    assert sections_of(tmp_path) == []


def test_the_table_follows_the_verdicts(tier):
    table, *pictures = sections_of(tier)
    assert "the landscape is smoother with BN: 6 yes;" in table.caption and "do not contradict one another" in table.caption
    assert "times as much as no BN does (REPRODUCED)" in table.caption
    assert "points above the middle between no BN and BN (REPRODUCED)" in table.caption
    assert len(table.table) == 20 and all(len(row) == 4 for row in table.table)
    assert table.table[1][2].startswith("REPRODUCED: ")
    assert len(pictures) == 2 * len(PICTURES) and all(isinstance(section.figure, Figure) for section in pictures)
    assert len({section.name for section in pictures}) == len(pictures)


def test_contradictions_are_told(tier):
    """Where BN's gradients shift more, and all else is as claimed, the definitions disagree."""
    for experiment in ("covariate_shift", "covariate_shift_inception"):
        for path in tier.glob(f"{experiment}/quick/batch-s*/metrics.jsonl"):
            path.write_text(path.read_text().replace('hidden.1/shift": 0.1', 'hidden.1/shift": 7.1'))
            path.write_text(path.read_text().replace('output/shift": 0.2', 'output/shift": 7.2'))
    table = sections_of(tier)[0]
    assert (
        "gradients shift less with BN: 4 yes, 2 no;" in table.caption
        and "contradict one another in the sigmoid network and in the small Inception" in table.caption
    )


def test_arms_without_bn_are_told_as_such(tmp_path):
    write_shift_tier(tmp_path, "quick", has_bn=False)
    assert not re.search("[1-9] (yes|slightly)", sections_of(tmp_path)[0].caption)


def test_one_network_alone_is_drawn(tier):
    for path in tier.glob("covariate_shift_inception*/quick/*/summary.json"):
        path.unlink()
    table, *pictures = sections_of(tier)
    assert table.table[1][3] == "NOT RUN" and "in the small Inception" not in table.caption and len(pictures) == len(PICTURES)


def test_layers_stand_as_in_figure_5():
    layers = ["stem.conv1", "stem.conv2", "inception.3a.reductions.conv_1x1", "inception.3a.conv_3x3", "inception.3a.projection",
              "inception.3c.conv_3x3"]  # fmt: skip
    assert list(grid_of(layers).values()) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1)]
    assert list(grid_of(["hidden.0", "hidden.1"]).values()) == [(0, 0), (0, 1)]


def test_what_pictures_draw_is_what_records_hold(plain):
    distances = distances_to_final(plain, "after_norm")
    assert distances.shape == (2, len(STEPS)) and np.all(distances[:, -1] == 0) and np.all(np.diff(distances) <= 0)
    steps, shifts = shift_over_steps(plain, "shift")
    assert steps.tolist() == list(STEPS) and shifts == pytest.approx([1.2] * len(STEPS))  # of depths 1 and 2, at 0.8 each
    spectra = final_spectra(plain)
    assert list(spectra) == list(LAYERS[:2])
    assert spectra["hidden.0"][0] == pytest.approx(np.exp(-0.8)) and spectra["hidden.0"][100] == pytest.approx(np.exp(0.8))
    low, high = central_range([plain], "hidden.0/after_norm")
    assert low == pytest.approx(-2.0) and high == pytest.approx(6.0)  # the values go from -2 + 0 to 2 + 4


def test_labels_keep_their_digits():
    """Coordinates are shortened, what is written is not."""
    figure, (axis,) = new_figure(1, 2, 2)
    axis.plot([0, 1 / 3], [0.001, 0.002])
    axis.set_title("0.00125")
    svg = as_svg(figure, "labels").decode()
    assert ">0.00125<" in svg and not re.search(r'd="[^"]*\d\.\d{3}', svg)
