"""What a map says, on maps of two rates and two deviations whose answer is worked by hand."""

import math

import pytest
from made_up_trainings import write_training

from bn_repro.studies.initialization import measures
from bn_repro.studies.initialization.figures import draw_accuracies, draw_maps, figure_maps, in_a_cell
from bn_repro.verdicts.selection import maps_of

RATES, STDS = (0.1, 1.0), (0.05, 0.5)
NEVER = [0.1, 0.2, 0.2]  # below 90 % and below halfway


def reaching(row, final=0.95):
    """Return accuracies whose smoothed curve crosses 90 % in the row given, at its step: five rows of it before."""
    return [0.1] * row + [final] * 12


@pytest.fixture
def make(tmp_path):
    def make(norm, seed, curves):
        for (lr, std), accuracies in curves.items():
            write_training(tmp_path, f"mnist_map/long/{norm}-s{seed},network.init_std={std:g},train.lr={lr:g}", accuracies, lr=lr)
        return maps_of(tmp_path, f"mnist_map/{norm}", "long")[seed]

    return make


@pytest.fixture
def pairs(make):
    """Without BN only the larger rate at the larger deviation and, slowly, the smaller rate train; with BN all points do."""
    plain = {(0.1, 0.05): NEVER, (1.0, 0.05): NEVER, (0.1, 0.5): reaching(40), (1.0, 0.5): reaching(5)}
    bn = {(0.1, 0.05): reaching(8), (1.0, 0.05): reaching(4), (0.1, 0.5): reaching(2), (1.0, 0.5): reaching(5, final=0.97)}
    return [(make("none", seed, plain), make("batch", seed, bn)) for seed in range(6)]


def test_twice_as_many_points_are_usable(pairs):
    assert measures.usable_threshold(pairs) == pytest.approx((10 + 95) / 2)
    assert measures.usable_area(pairs).value == pytest.approx(2)


def test_the_widest_range_of_scales_is_known_up_to_the_grid(pairs):
    """Without BN one deviation of two: its range is 1 to infinity (no grid above), with BN both: 10 to infinity."""
    assert measures.width_of({0.5}, STDS) == (1, math.inf) and measures.width_of({0.05, 0.5}, STDS) == (10, math.inf)
    assert measures.width_of({0.5}, (0.05, 0.5, 5)) == (1, pytest.approx(100)) and measures.width_of(set(), STDS) == (1, 10)
    sample = measures.range_of_scales(pairs)
    assert set(sample.lows) == {0.0} and set(sample.highs) == {math.inf}


def test_the_largest_rate_is_that_of_any_deviation(pairs):
    sample = measures.largest_rate(pairs)
    assert set(sample.lows) == {0.0} and set(sample.highs) == {math.inf}  # both end with the grid
    assert measures.limit_of({0.1}, (0.1, 1.0, 10.0)) == (0.1, 1.0) and measures.limit_of(set(), RATES) == (0, 0.1)


def test_gain_where_plain_is_fastest_and_where_it_is_most(pairs):
    """Plain is fastest at (1, 0.5), where BN is as fast; of the points where both arrive, BN gains most at (0.1, 0.5)."""
    assert measures.speedup_where_plain_is_fastest(pairs).value == pytest.approx(1, rel=0.02)
    at = pairs[0][0][0.1, 0.5], pairs[0][1][0.1, 0.5]
    expected = measures.steps_to_reach(at[0], 90) / measures.steps_to_reach(at[1], 90)
    assert measures.largest_speedup(pairs).value == pytest.approx(expected) and expected > 6


def test_each_is_judged_at_the_point_that_the_other_seeds_prefer(pairs):
    assert measures.at_best_points(pairs).value == pytest.approx(2)
    points = measures.chosen_by_others([({"a": 3, "b": 1},), ({"a": 0, "b": 1},)], lambda others, point: others[0][0][point])
    assert points == ["b", "a"]


def test_gains_without_a_number(pairs):
    assert measures.median_gain(pairs, (0.1, 0.05)) == math.inf
    reverse = [(bn, plain) for plain, bn in pairs]
    assert measures.median_gain(reverse, (0.1, 0.05)) == 0
    assert math.isnan(measures.median_gain([(plain, plain) for plain, _ in pairs], (0.1, 0.05)))
    assert [in_a_cell(value) for value in (math.nan, math.inf, 0.0, 2.345, 1234.5)] == ["", "∞", "0", "2.3", "1,234"]


def test_the_figure_has_a_number_in_every_cell(pairs):
    words = [text.get_text() for axis in figure_maps(pairs).axes for text in axis.texts]
    assert len(words) == 12 and words.count("∞") == 4


def test_a_map_of_factors_is_read_and_drawn(tmp_path):
    for norm, accuracy in (("none", 0.2), ("batch", 0.4)):
        for seed in (300, 301):
            for gain in (0.1, 1, 10):
                for lr in RATES:
                    name = f"inception_map/long/{norm}-s{seed},network.init_gain={gain:g},train.lr={lr:g}"
                    write_training(tmp_path, name, [0.1, accuracy * gain / 10], lr=lr)
    found = maps_of(tmp_path, "inception_map/batch", "long")
    assert sorted(found) == [300, 301] and sorted(found[300]) == [(lr, gain) for lr in RATES for gain in (0.1, 1.0, 10.0)]
    drawn = draw_accuracies(tmp_path, "long")
    words = [text.get_text() for axis in drawn.content.axes for text in axis.texts]
    assert len(drawn.runs) == 24 and "40" in words and "20" in words and drawn.note == "n = 2 at every point."
    assert draw_maps(tmp_path, "long") is None
