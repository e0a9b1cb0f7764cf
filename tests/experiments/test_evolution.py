"""Is a run of evolution a run: one record, the same after any kill and by any number of ranks, its mistakes refused?"""

import dataclasses
import json
import os
import signal

import pytest
from composed import composed
from ranks import FORK, codes, start_ranks
from safetensors.torch import load_file

from bn_repro.config import Config, walk
from bn_repro.config.evolution import EvolutionConfig
from bn_repro.config.schemas import KNOBS
from bn_repro.evolution.atari import digest
from bn_repro.experiments import evolution
from bn_repro.experiments.wandb_names import as_wandb_row
from bn_repro.launcher import grids
from bn_repro.launcher.child import result_line
from bn_repro.launcher.command_line import read, refuse_mistakes
from bn_repro.launcher.grids import grid
from bn_repro.launcher.machine import refuse_what_is_missing
from bn_repro.launcher.runs import run_here
from bn_repro.records import files
from bn_repro.records.extent import CLOCK
from bn_repro.records.record import Run, address_of, run_folder
from bn_repro.training.loop import Interrupted

pytest.importorskip("ale_py")
pytestmark = pytest.mark.usefixtures("restored_torch_settings")
SMALL_GA = {"truncation": 2, "elite_candidates": 2, "elite_episodes": 1}


def smoke(folder, experiment="evolution_curves", arm="arm=es_virtual_batch", seed=0, **train):
    config = composed(f"experiment={experiment}/smoke", arm, f"seed={seed}", "wandb.mode=disabled")
    train = {"population": 4} | (SMALL_GA if arm == "arm=ga_none" else {}) | train
    return dataclasses.replace(config, results_folder=str(folder), name="run", train=dataclasses.replace(config.train, **train))


def contents(config):
    """Return what two equal runs have equal, byte for byte, and the summary without clock and memory."""
    folder = run_folder(config)
    summary = json.loads((folder / files.SUMMARY).read_text())
    summary = {name: value for name, value in summary.items() if name not in CLOCK}
    kept = [name for name in (files.METRICS, files.ACTIVATIONS, files.WEIGHTS) if (folder / name).exists()]
    return {name: (folder / name).read_bytes() for name in kept} | {"summary": summary}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return what an uninterrupted run of one process leaves."""
    config = smoke(tmp_path_factory.mktemp("whole"))
    evolution.run(config)
    return config, contents(config)


def test_record_of_a_run(whole):
    config, _ = whole
    run = Run(run_folder(config))
    assert run.is_complete and run.config["game.name"] == "freeway" and "data.name" not in run.config
    assert {path.name for path in run.folder.iterdir()} - {files.LOCK, files.CHECKPOINTS} == {
        files.CONFIG, files.ENVIRONMENT, files.METRICS, files.WEIGHTS, files.SUMMARY,
    }  # fmt: skip
    assert [row["step"] for row in run.metrics] == [0, 1, 2]
    assert [row["frames"] for row in run.metrics] == [0, 4 * 4 * 30, 2 * 4 * 4 * 30] == [0, 480, run.summary["frames"]]
    assert run.summary["episodes"] == 8 and len(run.summary["scores"]) == 2 and sum(run.summary["actions"]) == 60
    assert {"score", "random_score", "constant_score", "constant_action"} <= run.summary.keys()
    assert set(run.summary["seconds_by_part"]) == {"emulating", "deciding", "building", "reference"}
    assert run.summary["num_parameters"] == 1_004_595 and run.summary["score"] == run.metrics[-1]["score"]
    weights = load_file(run.folder / files.WEIGHTS)
    assert digest(weights["reference_batch"].numpy()) == run.environment["reference_digest"]
    assert result_line(address_of(config), run.summary) == f"evolution_curves/smoke/run: score {run.summary['score']:.1f} after 960 frames"


def test_record_of_diversity(tmp_path):
    config = smoke(tmp_path, "policy_diversity", "norm=layer")
    evolution.run(config)
    run = Run(run_folder(config))
    assert [row["step"] for row in run.metrics] == run.activations["step"].tolist() == [0]
    measures = {name.removeprefix("diversity/sigma_0.02/") for name in run.metrics[0] if name.startswith("diversity/sigma_0.02/")}
    assert measures >= {"single_action", "entropy", "episode_entropy", "disagreement", "changed", "score_std", "gradient_agreement"}
    assert run.activations["sigma_0.02/episode_actions"].shape == (1, 4, 3) and run.activations["states/frames"].shape == (1, 6, 84, 84)
    recorded, entropy = run.metrics[0], "diversity/sigma_0.02/entropy"
    logged = as_wandb_row(recorded, {name: array[0] for name, array in run.activations.items() if name != "step"}, {})
    assert logged["eval/score"] == recorded["score"] and logged[entropy] == recorded[entropy]


@pytest.mark.parametrize("arm", ["arm=es_virtual_batch", "arm=ga_none"])
def test_interrupted_again_and_again_it_ends_the_same(tmp_path, whole, arm):
    """Asked to stop at the first poll, then at the fourth of what is left, and so on."""
    if arm == "arm=ga_none":
        expected_config = smoke(tmp_path / "whole", arm=arm)
        evolution.run(expected_config)
        expected = contents(expected_config)
    else:
        expected = whole[1]
    config = smoke(tmp_path, arm=arm)
    for number in range(0, 60, 5):
        polls = iter(range(100))
        try:
            evolution.run(config, is_stopping=lambda polls=polls, number=number: next(polls) == number)
            break
        except Interrupted:
            continue
    assert number > 3 and contents(config) == expected


def killed(config, num_polls):
    polls = iter(range(1000))

    def kill():
        if next(polls) == num_polls:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    evolution.run(config, is_stopping=kill)


def test_killed_it_ends_the_same(tmp_path, whole):
    config = smoke(tmp_path)
    for num_polls in (3, 6):
        process = FORK.Process(target=killed, args=(config, num_polls))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    evolution.run(config)
    assert contents(config) == whole[1]


@pytest.mark.parametrize("num", [2, 3])
def test_any_number_of_ranks_ends_the_same(tmp_path, whole, num):
    """Bit for bit: each rank plays its part, and seeds and scores alone are known to all."""
    config = smoke(tmp_path)
    assert codes(start_ranks(run_here, config, num=num)) == [0] * num
    assert Run(run_folder(config)).environment["num_ranks"] == num
    assert contents(config) == whole[1]


@pytest.mark.parametrize("arguments", [("evolution_curves", "arm=ga_none"), ("policy_diversity", "norm=batch")], ids=" ".join)
def test_two_ranks_end_as_one_with_the_other_algorithm_and_with_a_probe(tmp_path, arguments):
    alone, shared = smoke(tmp_path / "alone", *arguments), smoke(tmp_path / "shared", *arguments)
    evolution.run(alone)
    assert codes(start_ranks(run_here, shared, num=2)) == [0, 0]
    assert contents(shared) == contents(alone)


SMOKE = "experiment=evolution_curves/smoke"


@pytest.mark.parametrize(
    "arguments, told",
    {
        (SMOKE, "game.name=pomg"): ["game.name=pomg", "did you mean pong?", "54 more"],
        (SMOKE, "game=pong"): ["no knob game"],
        (SMOKE, "norm=virtual"): ["norm=virtual"],
        (SMOKE, "network.norm=group"): ["network.norm=group", "virtual_batch", "layer"],
        (SMOKE, "train.populaton=8"): ["train.populaton", "did you mean train.population?"],
        (SMOKE, "arm=es_none", "train.population=7"): ["train.population=7 is odd", "did you mean 8?"],
        (SMOKE, "arm=ga_none", "train.population=8"): ["train.truncation=10 is more than train.population=8"],
        (SMOKE, "arm=es_none", "train.truncation=2"): ["train.truncation=2 has no effect with train.algorithm=es"],
        (SMOKE, "arm=ga_none", "train.population=40", "train.lr=0.1"): ["train.lr=0.1 has no effect with train.algorithm=ga"],
        (SMOKE, "arm=ga_none", "train.population=40", "norm=batch"): ["network.norm=batch", "choices: none"],
        (SMOKE, "arm=es_none", "train.algorithm=es_"): ["train.algorithm=es_", "did you mean es?"],
        (SMOKE, "arm=es_none", "probe.every=1", "probe.policies=5"): ["probe.policies=5 is odd", "did you mean 6?"],
        (SMOKE, "arm=es_none", "train.eval_every=2", "probe.every=3"): ["probe.every=3 must be a multiple"],
        (SMOKE, "arm=es_none", "game.reference_share=0"): ["game.reference_share=0", "above 0"],
        (SMOKE, "arm=es_none", "data=mnist"): ["data"],
        ("kind=evolutoin",): ["kind=evolutoin", "did you mean evolution?"],
        ("kind=evolution", "norm=none", "seed=0"): ["has no value", "game.name"],
    }.items(),
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_mistakes_are_refused_in_one_line(arguments, told):
    with pytest.raises(ValueError) as error:
        refuse_mistakes(arguments)
    (line,) = str(error.value).splitlines()
    assert all(part in line for part in told), line


def test_a_missing_extra_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"kind=evolution needs the extra atari; pip install 'bn_repro\[atari\]' brings it"):
        read([SMOKE, "arm=es_none"], refuse_what_is_missing)


def test_what_is_right_passes():
    refuse_mistakes(["-m", SMOKE, "arm=es_virtual_batch,es_none", "seed=0,1"])
    refuse_mistakes(["-m", "experiment=policy_diversity/smoke"])


OF_TIERS = [name for name in grids.experiments() if name.startswith(("policy_", "evolution_")) and not name.endswith("/smoke")]


@pytest.mark.parametrize("name", OF_TIERS)
def test_every_experiment_runs_a_generation(name, tmp_path, monkeypatch):
    """The first and the last arm of each, by few and short episodes."""
    points = grid(name)
    monkeypatch.setattr(grids, "grid", lambda _: [points[0], points[-1]])
    sizes = [f"train.{name}" for name in ("steps=1", "eval_every=1", "population=10", "slots=2", "eval_episodes=1", "final_episodes=1")]
    sizes += ["train.baseline_episodes=0"]
    sizes += ["game.max_decisions=2", "game.reference_size=2", "game.reference_share=1.0"]
    sizes += ["probe.every=1", "probe.policies=2", "probe.states=2", "probe.max_decisions=2"]
    for config in grids.configs_of(name, [*sizes, "wandb.mode=disabled", f"results_folder={tmp_path}"]):
        assert evolution.run(config)["frames"] > 0 and [row["step"] for row in Run(run_folder(config)).metrics] == [0, 1]


def test_the_two_kinds_of_runs_have_each_its_knobs():
    config = composed(SMOKE, "arm=es_none", "seed=0")
    names = [name for name, _, _ in walk(config)]
    assert isinstance(config, EvolutionConfig) and not isinstance(config, Config)
    assert "game.name" in names and not any(name.startswith(("data.", "base.")) for name in names)
    assert all(metadata["meaning"] for _, _, metadata in walk(config))
    assert {"game.name", "data.name", "train.lr", "train.sigma"} <= set(KNOBS)
