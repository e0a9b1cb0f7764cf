"""Is nothing lost or reordered when a run's activations become one small file?"""

import io

import numpy as np

from bn_repro.records.packing import packed, unpacked


def test_activations_of_many_sites_are_packed_without_loss():
    generator = np.random.default_rng(0)
    arrays = {"step": np.array([0, 5])}
    for number in range(50):
        arrays[f"layer.{number}/in/percentiles"] = generator.normal(size=(2, 3)).astype(np.float32)
        arrays[f"layer.{number}/in/mean"] = generator.normal(size=2)
    arrays["layer.0/out/percentiles"] = generator.normal(size=(2, 7)).astype(np.float32)
    content = packed(arrays)
    found = unpacked(content)
    assert list(found) == list(arrays)
    assert all(found[name].dtype == array.dtype and np.array_equal(found[name], array) for name, array in arrays.items())
    one_by_one = io.BytesIO()
    np.savez_compressed(one_by_one, **arrays)
    assert len(content) < len(one_by_one.getvalue()) / 4
    assert list(unpacked(one_by_one.getvalue())) == list(arrays)  # as records were written before


def test_no_values_and_no_arrays_are_kept_too():
    for arrays in (
        {},
        {"step": np.array([], int)},
        {"step": np.array([3]), "a/nothing": np.zeros((1, 0), np.float32), "b/one": np.array([2.0])},
    ):
        found = unpacked(packed(arrays))
        assert {name: (array.shape, array.dtype) for name, array in found.items()} == {
            name: (array.shape, array.dtype) for name, array in arrays.items()
        }


def test_bytes_of_equal_significance_stand_together():
    """Counts of thousands in 32 bits have two bytes that are 0 throughout; so have smooth curves equal exponents."""
    counts = np.random.default_rng(0).integers(0, 2**16, (20, 500), np.int32)
    plainly = io.BytesIO()
    np.savez_compressed(plainly, counts)
    assert len(packed({"a/histogram": counts})) < 0.85 * len(plainly.getvalue())
