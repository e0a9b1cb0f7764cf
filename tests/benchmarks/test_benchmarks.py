"""The benchmark's pieces run and say what they compare; how fast anything is depends on the machine and is no test."""

import dataclasses

import numpy as np
import pytest
import torch
from composed import composed

from bn_repro.benchmarks.evolution import MOST_TIME, compare_playing, frames_per_second, peak_of_a_generation
from bn_repro.benchmarks.inception import compare_inception, written_plainly
from bn_repro.benchmarks.logging_tax import MAX_RANK_ERROR, compare_logging, peak_of_training, rank_error, rank_errors_after
from bn_repro.benchmarks.norms import compare_norms
from bn_repro.benchmarks.sigmoid_mlp import compare_sigmoid_mlp
from bn_repro.benchmarks.timing import Comparison, ratios, ratios_beside
from bn_repro.data.images import load_images
from bn_repro.networks import build_network

CPU = torch.device("cpu")


def test_ratios_are_of_both_in_turn():
    calls = []
    found = ratios(lambda: calls.append("ours"), lambda: calls.append("theirs"), rounds=2)
    assert calls == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert len(found) == 2 and all(ratio > 0 for ratio in found)


def test_ratios_of_many_are_beside_the_same_other():
    calls = []
    above = {name: lambda name=name: calls.append(name) for name in "ab"}
    found = ratios_beside(lambda: calls.append("-"), above, rounds=1, slices=2)
    assert "".join(calls) == "ab-" + "b-a" + "-ab"
    assert set(found) == {"a", "b"} and all(len(ratios) == 1 and ratios[0] > 0 for ratios in found.values())


@pytest.mark.parametrize(
    "found, bound, is_speedup, holds",
    [([1.0, 1.1, 1.2], 1.05, False, False), ([1.0], 1.05, False, True), ([1.3, 1.4], 1.3, True, True), ([1.2], 1.3, True, False)],
)
def test_a_bound_is_held_by_the_median(found, bound, is_speedup, holds):
    assert Comparison("ours", "theirs", found, bound, is_speedup).holds == holds


def test_rows_of_the_sigmoid_network():
    config = composed("experiment=mnist_sigmoid/smoke", "norm=batch", "seed=0")
    rows = list(compare_sigmoid_mlp({"batch": config}, load_images(config.data, CPU)[0], rounds=1, steps=2))
    assert [row.bound for row in rows] == [1.03, 1.02, 1.05, 1.05]


def test_rows_of_inception():
    config = composed("experiment=inception/smoke", "arm=bn_x5", "seed=0")
    rows = list(compare_inception(config, load_images(config.data, CPU)[0], rounds=1, steps=1))
    assert [row.bound for row in rows] == [1.25, 1.3, 1.15, 1.15]
    assert all(row.is_speedup for row in rows)


def test_rows_of_norms():
    rows = list(compare_norms(rounds=1, repeats=1))
    assert len(rows) == 2 * (5 * 3 + 2) + 4 and all(row.beside.startswith("batch norm") for row in rows)


def test_rows_of_evolution():
    config = composed("experiment=evolution_curves/smoke", "arm=es_none", "seed=0")
    rows = list(compare_playing(config, rounds=1, decisions=2))
    assert [row.bound for row in rows] == [MOST_TIME] * 4 + [0] and frames_per_second(config, decisions=2) > 0


def test_memory_of_a_generation():
    config = composed("experiment=evolution_curves/smoke", "arm=es_virtual_batch", "seed=0")
    assert 50 < peak_of_a_generation(config, population=4) < 10_000


def test_the_plain_form_is_the_same_network():
    config = composed("experiment=inception/smoke", "arm=bn_x5", "seed=0")
    x, _ = load_images(config.data, CPU)[0].between(0, 8)
    ours = build_network(dataclasses.replace(config.network, drop_rate=0.0), (3, 32, 32), 10, 0)
    theirs = written_plainly(ours, config)
    assert not any(module.is_merged for module in theirs.modules() if hasattr(module, "is_merged"))
    torch.testing.assert_close(theirs(x.contiguous()), ours(x), rtol=1e-4, atol=1e-4)


def test_rows_of_logging(capfd):
    config = composed("experiment=mnist_sigmoid/smoke", "norm=batch", "seed=0")
    rows = list(compare_logging(config, load_images(config.data, CPU)[0], rounds=1, slices=2, steps=10))
    assert [row.bound for row in rows] == [0.0, 1.05, 1.01, 0.0, 0.0]
    assert all(row.beside == "no logging" for row in rows) and all(row.holds for row in rows if not row.bound)
    assert capfd.readouterr() == ("", "")


def test_memory_of_logging():
    config = composed("experiment=mnist_sigmoid/smoke", "norm=batch", "seed=0")
    assert all(50 < peak_of_training(config, (28, 28), 2, is_recorded) < 10_000 for is_recorded in (False, True))


@pytest.mark.parametrize(
    "estimate, percentile, error",
    [
        (1.0, 15, 0.35),  # the ones have the ranks from 50 to 75 %
        (0.0, 15, 0),
        (0.0, 50, 0),
        (0.0, 85, 0.35),
        (0.5, 15, 0.35),
        (1.0, 85, 0.10),
        (5.0, 15, 0.85),
        (-1.0, 15, 0.15),
    ],
)
def test_a_rank_inside_a_tie_is_no_error(estimate, percentile, error):
    values = np.array([0, 0, 0, 0, 1, 1, 2, 3], dtype=np.float32)
    assert rank_error(values, estimate, percentile) == pytest.approx(error)


def test_rank_errors_of_inception():
    config = composed("experiment=inception/smoke", "arm=bn_x5", "seed=0")
    errors = rank_errors_after(config, load_images(config.data, CPU)[0], steps=2)
    assert {"stem.conv1.norm/in", "inception.5b.conv_3x3.norm/out", "fc/out"} < set(errors)
    assert all(error < MAX_RANK_ERROR for _, _, error in errors.values())
