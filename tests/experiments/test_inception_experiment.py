"""What runs of Inception add to a run: a part of the images watched, bfloat16, compilation, a device that is not there."""

import dataclasses

import numpy as np
import pytest
import torch
from composed import composed
from safetensors.torch import load_file

from bn_repro.data.crops import crops_of
from bn_repro.data.images import load_images
from bn_repro.experiments import supervised
from bn_repro.networks import build_network
from bn_repro.records import files
from bn_repro.records.reading import CROPS, LABELS, SINGLE
from bn_repro.records.record import Run, run_folder
from bn_repro.training.loop import evaluate

SMOKE = ("experiment=inception/smoke", "wandb.mode=disabled", "arm=bn_x5", "seed=0")

pytestmark = pytest.mark.usefixtures("restored_torch_settings")


def smoke_in(folder, *overrides):
    return dataclasses.replace(composed(*SMOKE, *overrides), results_folder=str(folder), name="run")


def test_training_watches_the_first_images_and_the_summary_takes_all(tmp_path):
    config = smoke_in(tmp_path, "data.evaluate_size=50")
    summary = supervised.run(config)
    run = Run(run_folder(config))
    state, task = supervised.build(config)
    images = task.examples
    assert evaluate(state.network, images.first(50), lambda: None, batch_size=50)[0] == run.metrics[0]["accuracy"]
    assert len(images.first(50)) == 50 and len(load_images(config.data, torch.device("cpu"))[1]) == len(images) > 50
    assert summary["accuracy_moving_averages"] * len(images) == pytest.approx(round(summary["accuracy_moving_averages"] * len(images)))
    whole = supervised.run(smoke_in(tmp_path / "whole", "data.evaluate_size=null"))
    assert summary["accuracy_moving_averages"] == whole["accuracy_moving_averages"]
    assert summary["accuracy"] == whole["accuracy"]


def test_predictions_are_kept_of_images_and_of_their_crops(tmp_path):
    config = smoke_in(tmp_path, "data.kept_predictions=30", "data.crop_scales=[36,40]")
    supervised.run(config)
    run = Run(run_folder(config))
    network = build_network(config.network, (3, 32, 32), 10, 0).eval()
    network.load_state_dict(load_file(run.folder / files.WEIGHTS))
    x, y = load_images(config.data, torch.device("cpu"))[1].between(0, 30)
    assert run.predictions[LABELS].tolist() == y.tolist()
    with torch.no_grad():
        single = network(x).softmax(1)
        of_crops = torch.stack([network(crop).softmax(1) for crop in crops_of(x, 32, (36, 40))]).mean(0)
    for name, probabilities in ((SINGLE, single), (CROPS, of_crops)):
        assert np.sqrt(run.predictions[name]) == pytest.approx(probabilities.sqrt().numpy(), abs=0.51 / 255)
    assert run.predictions.keys() == {LABELS, SINGLE, CROPS}
    assert not np.array_equal(run.predictions[CROPS], run.predictions[SINGLE])


def test_bfloat16_trains_close_to_float32_and_keeps_float32_weights(tmp_path):
    losses = {}
    for precision in ("float32", "bfloat16"):
        config = smoke_in(tmp_path / precision, f"train.precision={precision}")
        assert supervised.run(config)["status"] == "finished"
        losses[precision] = Run(run_folder(config)).metrics[-1]["train_loss"]
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
    state, _ = supervised.build(config)
    assert {p.dtype for p in state.network.parameters()} == {torch.float32}


def test_a_compiled_run_gives_the_same_numbers(tmp_path, monkeypatch):
    plain, compiled = smoke_in(tmp_path / "plain"), smoke_in(tmp_path / "compiled", "train.is_compiled=true")
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, mode: compile(network, backend="eager"))
    supervised.run(plain), supervised.run(compiled)
    rows, compiled_rows = (Run(run_folder(config)).metrics for config in (plain, compiled))
    assert [row["train_loss"] for row in compiled_rows] == pytest.approx([row["train_loss"] for row in rows], nan_ok=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_device_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="device=cuda: this machine has no such device"):
        supervised.run(smoke_in(tmp_path, "device=cuda"))
