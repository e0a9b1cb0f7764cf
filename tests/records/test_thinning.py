"""What is published of a run: enough for every report, and known to its summary."""

import json

import numpy as np
from made_up_records import MadeUp, percentiles_moving, write

from bn_repro.records import files
from bn_repro.records.packing import packed, unpacked
from bn_repro.records.record import Run
from bn_repro.records.thinning import published_files, thinned

LAYERS, PLACES = ("hidden.0", "hidden.1"), ("before_norm", "after_norm", "after_nonlinearity")
ARRAYS = {"step": np.arange(3)} | {
    f"{layer}/{place}/{measure}": np.random.default_rng(0).normal(size=(3, 5))
    for layer in LAYERS
    for place in PLACES
    for measure in ("unit_percentiles", "percentiles", "histogram")
}


def test_units_of_the_last_nonlinearitys_input_and_histograms_of_inputs_stay():
    found = unpacked(thinned(packed(ARRAYS)))
    assert [name for name in found if name.endswith("unit_percentiles")] == ["hidden.1/after_norm/unit_percentiles"]
    of_units = {name for name in ARRAYS if "unit" in name} - {"hidden.1/after_norm/unit_percentiles"}
    assert set(ARRAYS) - set(found) == of_units | {f"{layer}/after_nonlinearity/histogram" for layer in LAYERS}
    for name, array in found.items():
        np.testing.assert_array_equal(array, ARRAYS[name])
    assert thinned(packed(found)) == packed(found)


def test_a_published_run_is_whole_and_says_what_it_said(tmp_path):
    write(tmp_path, "mnist_sigmoid/quick/none-s0", MadeUp([0.1, 0.5, 0.9], percentiles_moving(1, 3)))
    source = Run(tmp_path / "mnist_sigmoid/quick/none-s0")
    path = source.folder / files.ACTIVATIONS
    more = unpacked(path.read_bytes())
    more["hidden.1/after_norm/unit_percentiles"] = more["hidden.2/after_norm/unit_percentiles"]
    path.write_bytes(packed({name: more[name] for name in sorted(more)}))
    target = tmp_path / "published/mnist_sigmoid/quick/none-s0"
    target.mkdir(parents=True)
    for name, content in published_files(source.folder).items():
        (target / name).write_bytes(content)
    published = Run(target)
    assert published.damage is None and published.summary == source.summary and published.metrics == source.metrics
    assert "hidden.1/after_norm/unit_percentiles" not in published.activations
    assert "hidden.2/after_norm/unit_percentiles" in published.activations
    assert files.WEIGHTS not in json.dumps(sorted(path.name for path in target.iterdir()))
