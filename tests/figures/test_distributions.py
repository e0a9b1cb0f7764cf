"""Do the pictures of distributions draw what records hold, in the network's order, with labels whole?"""

import re

import numpy as np
import pytest
from made_up_shifts import LAYERS, STEPS, Shift, write_shift

from bn_repro.figures.distributions import central_range, distances_to_final, grid_of
from bn_repro.figures.style import as_svg, new_figure
from bn_repro.records.record import Run
from bn_repro.studies.covariate_shift.figures import final_spectra
from bn_repro.studies.covariate_shift.measures import shift_over_steps


@pytest.fixture
def plain(tmp_path):
    write_shift(tmp_path, "covariate_shift/quick/none-s0", Shift(1.0, 0.8, 0.9, 0.94))
    return Run(tmp_path / "covariate_shift/quick/none-s0")


def test_layers_stand_as_in_figure_5():
    layers = ["stem.conv1", "stem.conv2", "inception.3a.reductions.conv_1x1", "inception.3a.conv_3x3", "inception.3a.projection",
              "inception.3c.conv_3x3"]  # fmt: skip
    assert list(grid_of(layers).values()) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1)]
    assert list(grid_of(["hidden.0", "hidden.1"]).values()) == [(0, 0), (0, 1)]


def test_what_pictures_draw_is_what_records_hold(plain):
    distances = distances_to_final(plain.activations, "after_norm")
    assert distances.shape == (2, len(STEPS)) and np.all(distances[:, -1] == 0) and np.all(np.diff(distances) <= 0)
    steps, shifts = shift_over_steps(plain, "shift")
    assert steps.tolist() == list(STEPS) and shifts == pytest.approx([1.2] * len(STEPS))  # of depths 1 and 2, at 0.8 each
    spectra = final_spectra(plain)
    assert list(spectra) == list(LAYERS[:2])
    assert spectra["hidden.0"][0] == pytest.approx(np.exp(-0.8)) and spectra["hidden.0"][100] == pytest.approx(np.exp(0.8))
    low, high = central_range([plain.activations], "hidden.0/after_norm")
    assert low == pytest.approx(-2.0) and high == pytest.approx(6.0)  # the values go from -2 + 0 to 2 + 4


def test_labels_keep_their_digits():
    """Coordinates are shortened, what is written is not."""
    figure, (axis,) = new_figure(1, 2, 2)
    axis.plot([0, 1 / 3], [0.001, 0.002])
    axis.set_title("0.00125")
    svg = as_svg(figure, "labels").decode()
    assert ">0.00125<" in svg and not re.search(r'd="[^"]*\d\.\d{3}', svg)
