"""What is published of a run: enough for every report, and known to its summary."""

import json

import numpy as np
from made_up_records import ENVIRONMENT, MadeUp, percentiles_moving, write

from bn_repro.records import files
from bn_repro.records.packing import packed, unpacked
from bn_repro.records.record import FINISHED, Run
from bn_repro.records.thinning import published_files, thinned
from bn_repro.records.writing import RunWriter

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


def test_of_many_rows_without_probes_what_nothing_reads_is_left_out(tmp_path):
    for address, num_rows in (("mnist_map/long/none-s0", 150), ("mnist_map/long/none-s1", 50)):
        source, target = Run(tmp_path / "runs" / address), Run(tmp_path / "published" / address)
        writer = RunWriter(source.folder)
        writer.begin({"train": {"steps": num_rows}}, ENVIRONMENT)
        for step in range(num_rows):
            writer.append({"step": step, "train_loss": 2.0, "accuracy": 0.1, "perplexity": 7.5})
        writer.finish({"status": FINISHED, "accuracy": 0.1, "steps": num_rows})
        writer.close()
        content = published_files(source.folder)
        for name, bytes_ in content.items():
            files.write_atomically(target.folder / name, bytes_)
        assert target.damage is None and target.summary == source.summary and len(target.metrics) == num_rows
        assert target.metrics[3].keys() == ({"step", "accuracy", "perplexity"} if num_rows > 100 else source.metrics[3].keys())
        assert published_files(target.folder) == content


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
