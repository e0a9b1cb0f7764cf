"""Are runs on texts records like any: a language model, classifiers that start from it or are refused, the bag of words?"""

import dataclasses
import math
import os
import re
import shutil
import signal
from functools import partial

import numpy as np
import pytest
import torch
from composed import composed
from ranks import FORK
from safetensors.torch import load_file

from bn_repro.baselines.ngrams import NGrams
from bn_repro.data.text import load_reviews
from bn_repro.data.vocabulary import encode, read_vocabulary
from bn_repro.experiments import supervised
from bn_repro.experiments.kinds import run
from bn_repro.experiments.language_models import language_model_run, read_features
from bn_repro.launcher import grids
from bn_repro.launcher.grids import configs_of, experiments, grid, needed_run, with_needed_runs
from bn_repro.launcher.runs import run_here
from bn_repro.networks.text_classifier import concat_pooling
from bn_repro.records import files
from bn_repro.records.record import FINISHED, Run, address_of, run_folder

pytestmark = pytest.mark.usefixtures("restored_torch_settings")
MODEL, HEAD, TUNED, BAG = (f"{name}/smoke" for name in ("text_language_model", "text_head", "text_fine_tuning", "text_bag_of_words"))
MEASURED = ("seconds", "steps_per_second", "peak_memory_mb")  # what equal runs do not share
KEPT = (files.METRICS, files.WEIGHTS, files.VOCABULARY, files.FEATURES, files.ACTIVATIONS)


def configured(folder, experiment, *overrides):
    defaults = [f"experiment={experiment}", "seed=0", "wandb.mode=disabled", f"results_folder={folder}"]
    norm = [] if experiment in (MODEL, BAG) or any(override.startswith("norm=") for override in overrides) else ["norm=batch"]
    return composed(*defaults, *norm, *overrides)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the results folder in which a language model's run is complete, and that run."""
    folder = tmp_path_factory.mktemp("results")
    config = configured(folder, MODEL)
    run(config)
    return folder, Run(run_folder(config))


@pytest.fixture
def results(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


def contents(config):
    folder = run_folder(config)
    summary = {name: value for name, value in Run(folder).summary.items() if name not in MEASURED}
    return {name: (folder / name).read_bytes() for name in KEPT if (folder / name).exists()} | {"summary": summary}


def test_a_language_model_learns_and_stands_beside_counting(trained):
    folder, done = trained
    summary, config = done.summary, configured(folder, MODEL)
    assert summary["status"] == FINISHED and [row["step"] for row in done.metrics] == [0, 10, 20, 30, 40]
    assert done.metrics[-1]["loss"] < 0.8 * done.metrics[0]["loss"]
    vocabulary = read_vocabulary(done.folder / files.VOCABULARY)
    assert done.metrics[0]["loss"] == pytest.approx(math.log(vocabulary.get_vocab_size()), rel=0.01)
    assert summary["perplexity"] == pytest.approx(math.exp(done.metrics[-1]["loss"]))
    parts, num_dropped = load_reviews(config.data)
    training, held_out = (encode(vocabulary, parts[name].texts, config.data.max_tokens) for name in ("training", "validation"))
    for name, order in (("perplexity_unigram", 1), ("perplexity_trigram", 3)):
        assert summary[name] == NGrams(*training, vocabulary.get_vocab_size(), order).perplexity(*held_out)
    assert summary["num_training_tokens"] == len(training[0]) and summary["num_dropped_texts"] == num_dropped


def test_a_classifier_starts_from_the_encoder_and_its_features_are_what_a_head_would_see(results):
    state, task = supervised.build(configured(results, TUNED))
    weights = load_file(results / MODEL / "none-s0" / files.WEIGHTS)
    for name, tensor in state.network.encoder.state_dict().items():
        assert tensor.equal(weights[f"encoder.{name}"])
    x, labels = task.examples.between(0, 100)
    network = state.network.eval()
    with torch.no_grad():
        pooled = concat_pooling(network.encoder(x)[0], x != 0)
    kept, kept_labels = read_features(Run(results / MODEL / "none-s0"), "test")
    torch.testing.assert_close(kept, pooled, rtol=1e-3, atol=1e-3)
    assert kept_labels.equal(labels)


@pytest.mark.parametrize("norm", ["batch", "none", "layer"])
@pytest.mark.parametrize("experiment", [HEAD, TUNED])
def test_a_classifier_learns_with_any_norm(results, experiment, norm):
    config = configured(results, experiment, f"norm={norm}")
    summary = run(config)
    done = Run(run_folder(config))
    assert summary["num_batch_norms"] == (2 if norm == "batch" else 0) and summary["num_training_texts"] == 240
    assert len(done.is_correct) == 100 and done.is_correct.mean() == summary["accuracy"]
    assert done.metrics[-1]["train_loss"] < done.metrics[1]["train_loss"]
    sites = {name.rsplit("/", 1)[0] for name in done.activations if name != "step"}
    prefix = "" if experiment == HEAD else "head."
    places = ("before_norm", "after_norm", "after_nonlinearity")
    assert sites == {f"{prefix}blocks.{number}/{place}" for number in range(2) for place in places}


PROBES = [f"probe.{name}_every=20" for name in ("gradient_shift", "landscape")]
OF_LAYERS = [f"probe.{name}_every=20" for name in ("magnitudes", "jacobian")]


@pytest.mark.parametrize("probe", OF_LAYERS)
def test_probes_of_layers_are_refused_for_a_language_model(results, probe):
    with pytest.raises(ValueError, match="a language model calls no layer"):
        configured(results, MODEL, probe)


# The layers at steps 0 and 20; the embeddings thaw later.
@pytest.mark.parametrize("experiment, probes, num_layers", [(MODEL, PROBES, [3, 3]), (TUNED, [*PROBES, *OF_LAYERS], [2, 4])])
def test_probes_change_nothing_and_see_the_layers_that_train(results, experiment, probes, num_layers):
    watched, alone = configured(results / "watched", experiment, *probes), configured(results / "alone", experiment, "probe.every=0")
    for config in (watched, alone):
        shutil.copytree(results / MODEL / "none-s0", run_folder(configured(config.results_folder, MODEL)))
        run(dataclasses.replace(config, name="again"))
    watched, alone = (dataclasses.replace(config, name="again") for config in (watched, alone))
    rows = Run(run_folder(watched)).metrics
    kept = [{name: value for name, value in row.items() if name != "probe_loss" and name.count("/") == 0} for row in rows]
    assert kept == Run(run_folder(alone)).metrics and contents(watched)[files.WEIGHTS] == contents(alone)[files.WEIGHTS]
    seen = [{name.split("/")[1] for name in row if name.startswith("gradient_shift/")} for row in (rows[0], rows[2])]
    assert [len(layers) for layers in seen] == num_layers
    assert all(row["landscape/loss_max"] >= row["landscape/loss_min"] > 0 for row in (rows[0], rows[2]))


@pytest.mark.parametrize("num_labels", [2, 100])
def test_few_labels_are_drawn_by_the_runs_seed(results, num_labels):
    config = configured(results, HEAD, f"data.num_labels={num_labels}", "train.batch_size=2")
    _, task = supervised.build(config)
    _, other = supervised.build(dataclasses.replace(config, seed=1))
    assert len(task.batches.images) == num_labels and task.batches.images.labels.sum() == num_labels // 2
    assert not task.batches.images.x.equal(other.batches.images.x)


def killed_at_report(config, number):
    """Do a run that is killed at its n-th report of progress."""
    reports = iter(range(10**6))

    def report(*_):
        if next(reports) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    run(config, report)


@pytest.mark.parametrize("experiment, moments", [(MODEL, (1, 17, 33, 60)), (TUNED, (1, 20, 43))])
def test_killed_and_resumed_it_ends_in_the_same_bits(results, experiment, moments):
    folder = results / "killed"
    if experiment == TUNED:
        shutil.copytree(results / "text_language_model", folder / "text_language_model")
    whole = configured(results, experiment)
    run(whole)
    config = dataclasses.replace(whole, results_folder=str(folder))
    for number in moments:
        process = FORK.Process(target=partial(killed_at_report, config, number))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL and not Run(run_folder(config)).is_complete
    run(config)
    assert contents(config) == contents(whole)


@pytest.mark.parametrize(
    "experiment, overrides, complaint",
    [
        (HEAD, ["network.encoder=text_language_model/smoke/none-s7"], "is no complete run in .*; do experiment=text_language_model/smoke"),
        (TUNED, ["network.embedding=20"], "has network.embedding=16, not 20; its weights do not fit"),
        (TUNED, ["network.hidden=8"], "has network.hidden=24, not 8; its weights do not fit"),
        (TUNED, ["data.vocabulary_size=320"], "has data.vocabulary_size=340, not 320; its vocabulary is another"),
        (HEAD, ["data.split_seed=3"], "has data.split_seed=0, not 3; its vocabulary is another"),
        (HEAD, ["data.training_size=200"], "has data.training_size=None, not 200; its vocabulary is another"),
        (HEAD, ["data.max_tokens=20"], "has data.max_tokens=30, not 20; its features are of other texts"),
    ],
)
def test_a_language_model_that_does_not_fit_is_one_line(results, capsys, experiment, overrides, complaint):
    assert run_here(configured(results, experiment, *overrides)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(complaint, line)


def test_a_run_that_did_not_know_a_knob_yet_had_it_off(results, monkeypatch):
    known = Run(results / MODEL / "none-s0").config
    monkeypatch.setattr(Run, "config", {name: value for name, value in known.items() if name != "data.training_size"})
    assert language_model_run(configured(results, HEAD)).folder == results / MODEL / "none-s0"
    with pytest.raises(ValueError, match="has data.training_size=None, not 200"):
        language_model_run(configured(results, HEAD, "data.training_size=200"))


def test_what_is_no_language_model_or_kept_no_features_is_refused(results):
    run(configured(results, TUNED))
    address = address_of(configured(results, TUNED))
    with pytest.raises(ValueError, match=f"network.encoder={address} is a text_classifier, not a language_model"):
        run(configured(results, HEAD, f"network.encoder={address}"))
    run(configured(results, MODEL, "seed=3", "network.keeps_features=false"))
    with pytest.raises(ValueError, match="kept no features; it needs network.keeps_features=true"):
        run(configured(results, HEAD, "network.encoder=text_language_model/smoke/none-s3"))
    run(configured(results, TUNED, "network.encoder=text_language_model/smoke/none-s3", "seed=1"))


@pytest.mark.parametrize("experiment, name", [(TUNED, files.WEIGHTS), (TUNED, files.VOCABULARY), (HEAD, files.FEATURES)])
def test_a_language_model_of_which_a_file_is_damaged_or_gone_is_one_line(results, capsys, experiment, name):
    path = results / MODEL / "none-s0" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert run_here(configured(results, experiment)) == 1
    path.unlink()
    assert run_here(configured(results, experiment)) == 1
    damaged, missing = capsys.readouterr().err.splitlines()
    assert f"{path} is damaged" in damaged and f"{path} is missing" in missing


@pytest.mark.parametrize(
    "experiment, overrides, complaint",
    [
        (MODEL, ["norm=batch", "network.norm=batch"], "network.norm=batch has no effect on network.name=language_model"),
        (MODEL, ["data.num_labels=100"], "data.num_labels=100 has no effect on network.name=language_model"),
        (MODEL, ["train.unfreeze_every=5"], "train.unfreeze_every=5 needs network.name=text_classifier with network.is_frozen=false"),
        (HEAD, ["train.layer_lr_ratio=0.5"], "train.layer_lr_ratio=0.5 needs network.name=text_classifier"),
        (HEAD, ["network.encoder=null"], "network.is_frozen=true needs network.encoder"),
        (HEAD, ["network.is_standardized=true", "network.is_frozen=false"], "network.is_standardized=true needs network.is_frozen=true"),
        (HEAD, ["network.encoder=somewhere"], "network.encoder=somewhere is no run; give <experiment>/<tier>/<name>"),
        (HEAD, ["network.head_drops=[0.1]"], r"network.head_drops=\[0.1\] must be two numbers"),
        (HEAD, ["data.num_labels=1000"], "num_labels=1000 cannot be drawn"),
        (
            MODEL,
            ["data.training_size=241"],
            "data.training_size=241 is more than the 240 texts of synthetic_text that are left to train on",
        ),
        (HEAD, ["data.training_size=20", "data.num_labels=100"], "num_labels=100 cannot be drawn from 20 texts"),
        (BAG, ["network.penalties=[]"], "leaves nothing to choose from"),
        (BAG, ["data.validation_size=0"], "data.validation_size=0 is out of range; it must be at least 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, experiment, overrides, complaint):
    with pytest.raises(ValueError, match=complaint):
        configured(tmp_path, experiment, *overrides)


def test_from_random_weights_it_learns_a_vocabulary_of_its_own(results):
    config = configured(results, TUNED, "network.encoder=null", "train.unfreeze_every=0")
    run(config)
    own, other = (folder / files.VOCABULARY for folder in (run_folder(config), results / MODEL / "none-s0"))
    assert own.read_bytes() == other.read_bytes()


def test_a_bag_of_words_is_a_run_too(tmp_path):
    config = configured(tmp_path, BAG, "data.num_labels=100")
    summary = run(config)
    done = Run(run_folder(config))
    assert [row["penalty"] for row in done.metrics] == [1.0, 0.1, 0.01] and done.summary == summary
    assert summary["accuracy"] == done.is_correct.mean() > 0.7 and summary["num_training_texts"] == 100
    best = max(done.metrics, key=lambda row: row["accuracy"])
    assert summary["penalty"] == best["penalty"] and run(config) == summary


def test_the_runs_that_others_start_from_are_done_first():
    heads = configs_of(HEAD)
    assert {needed_run(config) for config in heads} == {"text_language_model/smoke/none-s0"}
    model, *others = with_needed_runs(heads)
    assert address_of(model) == "text_language_model/smoke/none-s0" and others == heads
    assert with_needed_runs([model, *heads]) == [model, *heads] and needed_run(model) is None


SMALL = ("network.embedding=8", "network.hidden=8", "network.num_layers=2", "network.window=8")
OF_TIERS = [name for name in experiments() if name.startswith("text_") and not name.endswith("/smoke")]


@pytest.mark.parametrize("tier", sorted({name.split("/")[1] for name in OF_TIERS}))
def test_every_experiment_on_texts_runs_two_steps(tier, tmp_path, monkeypatch):
    """On a few made-up texts in the place of the reviews, networks small; one run of each norm."""
    monkeypatch.setattr("bn_repro.data.text.fetch", lambda *_: {"train": few_reviews()})
    of_data = ["data.validation_size=30", "data.test_size=30", "data.vocabulary_size=320", "data.evaluate_size=20"]
    of_train = ["train.steps=2", "train.eval_every=1", "train.batch_size=4", "train.population_batches=2", "probe.batch_size=8"]
    for name in sorted(OF_TIERS, key=lambda name: not name.startswith("text_language_model")):
        if not name.endswith(f"/{tier}"):
            continue
        overrides = [*of_data, "device=cpu", "wandb.mode=disabled", f"results_folder={tmp_path}"]
        overrides += [] if name.startswith("text_bag_of_words") else [*of_train, *SMALL]
        arms = {next((override for override in point if override.startswith(("norm=", "arm="))), None): point for point in grid(name)}
        monkeypatch.setattr(grids, "grid", lambda _, arms=arms: arms.values())
        for config in configs_of(name, overrides):
            config.data.num_labels = config.data.num_labels and 20
            config.data.training_size = config.data.training_size and 50
            assert run(config)["status"] == FINISHED


def few_reviews():
    from bn_repro.data.reviews import made_up_reviews

    reviews = made_up_reviews(120)
    return np.frombuffer("\n".join(reviews.texts).encode(), np.uint8), reviews.labels
