"""Are the distances of histograms scipy's, within the binning error that is stated, and the paths what is added by hand?"""

import numpy as np
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

from bn_repro.measures.drift import drift, kolmogorov_smirnov, over_depth, percentile_path, wasserstein
from bn_repro.records.record import Run
from bn_repro.records.writing import RunWriter
from bn_repro.studies.sigmoid_network import distance_to_final

LOW, HIGH, BINS = -10.0, 10.0, 100
WIDTH = (HIGH - LOW) / BINS
CENTERS = LOW + WIDTH * (np.arange(BINS) + 0.5)


def samples(seed):
    random = np.random.default_rng(seed)
    return random.normal(random.uniform(-2, 2), random.uniform(0.3, 2), 3000), random.exponential(random.uniform(0.2, 2), 2000) - 1


def binned(values):
    return np.histogram(values, BINS, (LOW, HIGH))[0]


@pytest.mark.parametrize("seed", range(10))
def test_scipy_agrees(seed):
    one, other = (values[np.abs(values) < HIGH] for values in samples(seed))
    counts, others = binned(one), binned(other)
    at_centers, others_at_centers = np.repeat(CENTERS, counts), np.repeat(CENTERS, others)
    assert wasserstein(counts, others, WIDTH) == pytest.approx(wasserstein_distance(at_centers, others_at_centers), rel=1e-12)
    assert wasserstein(counts, others, WIDTH) == pytest.approx(wasserstein_distance(one, other), abs=WIDTH)
    binned_statistic = kolmogorov_smirnov(counts, others)
    assert binned_statistic == pytest.approx(ks_2samp(at_centers, others_at_centers).statistic, abs=1e-12)
    largest_share = max((counts / counts.sum()).max(), (others / others.sum()).max())
    assert binned_statistic <= ks_2samp(one, other).statistic <= binned_statistic + largest_share


def test_distances_by_hand():
    """A quarter of the values moves by two bins, a quarter by one, half stands still."""
    one, other = np.array([1, 1, 2, 0]), np.array([0, 0, 6, 2])  # of 4 and of 8 values
    assert wasserstein(one, other, 0.5) == pytest.approx((0.25 + 0.5 + 0.25) * 0.5)
    assert kolmogorov_smirnov(one, other) == pytest.approx(0.5)
    assert wasserstein(one, 3 * one, 0.5) == kolmogorov_smirnov(one, one) == 0
    assert kolmogorov_smirnov(np.array([5, 0]), np.array([0, 1])) == 1
    assert np.isnan(wasserstein(one, np.zeros(4), 0.5))


def test_percentile_path_by_hand():
    """The median goes 0, 3, 2 and the final width is 4; a second unit stands still."""
    moving, still = np.array([[-1.0, 0, 1], [1, 3, 4], [0, 2, 4]]), np.tile([-1.0, 0, 1], (3, 1))
    np.testing.assert_allclose(percentile_path(moving), [3 / 4, 4 / 4, 3 / 4])
    np.testing.assert_allclose(percentile_path(np.stack([moving, still], axis=1)), [[3 / 4, 4 / 4, 3 / 4], [0, 0, 0]])


def record(shifts):
    """Return activations of a layer whose 3 records are the same values, shifted by whole bins."""
    values = np.random.default_rng(0).normal(size=1000)
    rows = [values + WIDTH * shift for shift in shifts]
    return {
        "percentiles": np.percentile(rows, [15, 50, 85], axis=1).T,
        "histogram": np.stack([binned(row) for row in rows]),
        "range": np.tile([LOW, HIGH], (len(rows), 1)),
    }


def activations(**layers):
    return {f"{name}/after_norm/{measure}": array for name, shifts in layers.items() for measure, array in record(shifts).items()}


def test_layers_and_depth_by_hand():
    """Shifts of 10, 4 and 0 bins, that is 2, 0.8 and 0, and final widths w: the path is 2 / w, the mean distance 1.4 / w."""
    of = activations(first=[10, 4, 0], second=[0, 0, 0], third=[0, 30, 0])
    measured = drift(of, "after_norm")
    width = np.ptp(of["first/after_norm/percentiles"][-1])
    np.testing.assert_allclose(measured["median_path"], np.array([2.0, 0, 12]) / width, rtol=1e-6)
    np.testing.assert_allclose(measured["wasserstein_path"], np.array([2.0, 0, 12]) / width, rtol=1e-6)
    np.testing.assert_allclose(measured["wasserstein_to_final"], np.array([1.4, 0, 3]) / width, rtol=1e-6)
    assert measured["kolmogorov_smirnov_to_final"][1] == 0 < measured["kolmogorov_smirnov_to_final"][0] < 1
    assert measured["kolmogorov_smirnov_path"][2] == pytest.approx(2, abs=0.01)  # there and back, farther than the values spread
    depth = over_depth(measured)
    assert depth["median_path/median"] == pytest.approx(2 / width) and depth["median_path/mean"] == pytest.approx(14 / 3 / width)


def test_an_unrecorded_place_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="place 'output' was not recorded; choices: after_norm"):
        drift(activations(first=[0, 0]), "output")


def test_percentiles_without_order_or_median_are_refused():
    good = activations(first=[10, 4, 0])
    name = "first/after_norm/percentiles"
    for columns, why in (([2, 1, 0], "do not ascend"), ([0, 2], "no median"), ([1], "no median"), ([0, 1, 2, 2], "no median")):
        with pytest.raises(ValueError, match=why):
            drift(good | {name: good[name][:, columns]}, "after_norm")
    with pytest.raises(ValueError, match="of first/after_norm there are 1"):
        drift({key: array[:1] for key, array in good.items()}, "after_norm")


def test_it_agrees_with_the_measure_of_the_published_claim(tmp_path):
    writer = RunWriter(tmp_path)
    writer.begin({"network": {"depth": 3}}, {})
    arrays = activations(**{"hidden.2": [10, 4, 0]})
    for row in range(3):
        writer.append_activations(row, {name: array[row] for name, array in arrays.items()})
    writer.finish({})
    writer.close()
    published = distance_to_final(Run(tmp_path))
    assert drift(Run(tmp_path).activations, "after_norm")["wasserstein_to_final"][0] == pytest.approx(published, rel=1e-6)
