"""Do several ranks train as one: gradients and statistics as by hand, stopped together, resumed to the same bits?"""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from composed import composed
from made_up_images import NUM_VALIDATION, imagenet_config, overrides, write_image_folder
from ranks import FORK, codes, start_ranks
from torch import nn
from torch.nn import functional as F

from bn_repro.checks.runs import check
from bn_repro.experiments import supervised
from bn_repro.launcher.command_line import refuse_mistakes
from bn_repro.launcher.grids import CONFIGS
from bn_repro.launcher.runs import run_here
from bn_repro.norms import BatchNorm2d, batch_norms
from bn_repro.records import files
from bn_repro.records.record import Run, run_folder
from bn_repro.training.distributed import (
    average_population_statistics,
    averaging_gradients,
    from_first_rank,
    join_ranks,
    pooled_statistics,
    rank,
    synchronized,
)
from bn_repro.training.loop import Interrupted, evaluate

LONGER = ("arm=bn_baseline", "train.steps=24", "train.eval_every=8", "train.checkpoint_every=5")  # with dropout
pytestmark = pytest.mark.usefixtures("restored_torch_settings")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import timm.data  # noqa: F401  so that forked ranks have it

    return write_image_folder(tmp_path_factory.mktemp("images"))


def answers(function, folder, num=2):
    """Return what `function()` returns on each rank."""

    def answer():
        join_ranks("cpu")
        torch.save(function(), folder / f"{rank()}.pt")

    assert codes(start_ranks(answer, num=num)) == [0] * num
    return [torch.load(folder / f"{number}.pt", weights_only=False) for number in range(num)]


def contents(config):
    """Return what two equal runs have equal, byte for byte."""
    measured = ("seconds", "steps_per_second", "peak_memory_mb")
    summary = {name: value for name, value in Run(run_folder(config)).summary.items() if name not in measured}
    return [(run_folder(config) / name).read_bytes() for name in (files.METRICS, files.WEIGHTS)], summary


def wait_for_checkpoint(config):
    for _ in range(30_000):
        if list((run_folder(config) / files.CHECKPOINTS).glob("*.pt")):
            return
        time.sleep(0.01)
    raise AssertionError("the run does not start")


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """Return what an uninterrupted run of two ranks leaves."""
    config = imagenet_config(folder, tmp_path_factory.mktemp("whole"), *LONGER)
    assert codes(start_ranks(run_here, config)) == [0, 0]
    environment = Run(run_folder(config)).environment
    assert (environment["num_ranks"], environment["batch_per_rank"], environment["batch_of_a_norm"]) == (2, 4, 4)
    assert [row["step"] for row in Run(run_folder(config)).metrics] == [0, 8, 16, 24]
    return contents(config)


def test_torchrun_killed_and_resumed_ends_the_same(folder, whole, tmp_path):
    config = imagenet_config(folder, tmp_path, *LONGER)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", f"--master-port={29500 + os.getpid() % 500}"]
    command += ["scripts/train.py", *overrides(folder, tmp_path, *LONGER)]
    torchrun = subprocess.Popen(command, cwd=CONFIGS.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_checkpoint(config)
    ranks = Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children").read_text().split()
    assert len(ranks) == 2
    for process in (torchrun.pid, *map(int, ranks)):
        os.kill(process, signal.SIGKILL)
    torchrun.wait()
    assert not Run(run_folder(config)).is_complete
    while any(Path(f"/proc/{process}").exists() for process in ranks):
        time.sleep(0.01)
    assert codes(start_ranks(run_here, config)) == [0, 0]
    assert contents(config) == whole


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_one_rank_stops_all_at_the_same_step(folder, whole, tmp_path, number, code):
    config = imagenet_config(folder, tmp_path, *LONGER)
    ranks = start_ranks(run_here, config)
    wait_for_checkpoint(config)
    os.kill(ranks[1].pid, number)
    assert codes(ranks) == [143, code] and not Run(run_folder(config)).is_complete
    assert codes(start_ranks(run_here, config)) == [0, 0]
    assert contents(config) == whole
    assert codes(start_ranks(run_here, config)) == [0, 0]  # complete already


def test_interrupted_again_and_again_it_ends_the_same(folder, tmp_path):
    """Asked to stop on the last rank alone: at the first report, then at the second of what is left, and so on."""
    steps = ("train.steps=4", "train.eval_every=2", "train.checkpoint_every=2", "train.batch_size=6", "data.evaluate_batch=8")
    config = imagenet_config(folder, tmp_path / "whole", "arm=bn_baseline", *steps)
    assert codes(start_ranks(run_here, config, num=3)) == [0, 0, 0]
    expected = contents(config)

    def interrupted_again_and_again(config):
        for number in range(40):
            polls = iter(range(40))
            try:
                supervised.run(config, is_stopping=lambda polls=polls, number=number: os.environ["RANK"] == "2" and next(polls) == number)
            except Interrupted:
                continue
            return 0 if number == 6 else number

    config = imagenet_config(folder, tmp_path / "stopped", "arm=bn_baseline", *steps)
    assert codes(start_ranks(interrupted_again_and_again, config, num=3)) == [0, 0, 0]
    assert contents(config) == expected


def test_a_run_goes_on_with_as_many_ranks_alone(folder, tmp_path):
    config = imagenet_config(folder, tmp_path, "arm=bn_x5")
    processes = start_ranks(lambda: supervised.run(config, is_stopping=lambda: True))
    assert codes(processes) == [1, 1]
    with pytest.raises(ValueError, match="was begun with 2 ranks and cannot go on with 1"):
        supervised.run(config)


def test_what_cannot_be_is_refused_on_every_rank(folder, tmp_path, capfd):
    config = imagenet_config(folder, tmp_path, "arm=bn_x5", "train.batch_size=7")
    assert codes(start_ranks(run_here, config)) == [2, 2]
    assert "train.batch_size=7 is of all ranks together and cannot be split evenly over 2" in capfd.readouterr().err
    with pytest.raises(ValueError, match="train.sync_bn=true needs device=cuda, not cpu"):
        check(dataclasses.replace(config, train=dataclasses.replace(config.train, sync_bn=True)))
    if not torch.cuda.is_available():
        assert codes(start_ranks(run_here, dataclasses.replace(config, device="cuda"))) == [2, 2]
        assert "device=cuda: this machine has no such device" in capfd.readouterr().err


def test_rank_0_decides(tmp_path):
    def decide():
        seen = [from_first_rank(lambda: f"by {rank()}")]
        try:
            from_first_rank(lambda: [][0])
        except IndexError as error:
            seen.append(type(error).__name__)
        return seen

    assert answers(decide, tmp_path) == [["by 0", "IndexError"]] * 2


def small_network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.Flatten(), nn.Linear(64, 3))


def batch(num=6):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num, 3, 8, 8, generator=generator) + 1, torch.arange(num) % 3


def test_gradients_are_the_mean_of_the_replicas_by_hand(tmp_path):
    """Each replica normalizes its own part, as in the paper; its moving averages are its own."""

    def train_step():
        network = small_network(seed=rank())  # DDP starts all from rank 0's
        x, y = (part[rank() :: 3] for part in batch())
        in_parallel = averaging_gradients(network)
        F.cross_entropy(in_parallel(x), y).backward()
        return [parameter.grad for parameter in network.parameters()], network[1].running_mean, network[1].running_var

    found = answers(train_step, tmp_path, num=3)
    replicas = [small_network().double() for _ in range(3)]
    x, y = batch()
    for number, replica in enumerate(replicas):
        F.cross_entropy(replica(x[number::3].double()), y[number::3]).backward()
        torch.testing.assert_close(found[number][1].double(), replica[1].running_mean, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found[number][2].double(), replica[1].running_var, rtol=1e-5, atol=1e-6)
    for number, parameters in enumerate(zip(*(replica.parameters() for replica in replicas))):
        expected = torch.stack([parameter.grad for parameter in parameters]).mean(0)
        for gradients, *_ in found:
            assert torch.equal(gradients[number], found[0][0][number])
            torch.testing.assert_close(gradients[number].double(), expected, rtol=1e-4, atol=1e-6)


def test_synchronized_norms_have_the_same_parameters_by_the_same_names(tmp_path):
    def convert():
        network = small_network()
        parameters, names = list(network.parameters()), list(network.state_dict())
        converted = synchronized(network)
        is_same = all(one is other for one, other in zip(converted.parameters(), parameters, strict=True))
        return is_same and list(converted.state_dict()) == names, [type(norm).__name__ for norm in batch_norms(converted)]

    assert answers(convert, tmp_path) == [(True, ["SyncBatchNorm"])] * 2
    network = small_network()
    assert synchronized(network) is network  # one rank


def moments(number, num=5):
    generator = torch.Generator().manual_seed(10 + number)
    return torch.randn(num, generator=generator) * 3, torch.rand(num, generator=generator)


@pytest.mark.parametrize("num", [2, 3])
def test_pooled_statistics_are_those_of_all_examples_by_hand(tmp_path, num):
    """In float64: examples of equal number with a replica's mean and variance, thrown together."""

    def pool():
        network = small_network()
        for own, value in zip((network[1].running_mean, network[1].running_var), moments(rank())):
            own.copy_(value)
        with pooled_statistics(network):
            pooled = network[1].running_mean.clone(), network[1].running_var.clone()
        after = network[1].running_mean.clone(), network[1].running_var.clone()
        average_population_statistics(network)
        return pooled, after, (network[1].running_mean, network[1].running_var)

    found = answers(pool, tmp_path, num)
    means, variances = (torch.stack(parts).double() for parts in zip(*map(moments, range(num))))
    examples = torch.cat([means + variances.sqrt(), means - variances.sqrt()])  # two a replica, with its moments
    for number, (pooled, after, population) in enumerate(found):
        torch.testing.assert_close(pooled[0].double(), examples.mean(0), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(pooled[1].double(), examples.var(0, correction=0), rtol=1e-5, atol=1e-6)
        assert all(map(torch.equal, after, moments(number)))  # training goes on as it was
        torch.testing.assert_close(population[0].double(), means.mean(0), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(population[1].double(), variances.mean(0), rtol=1e-5, atol=1e-6)


def test_an_evaluation_by_ranks_counts_every_image_once(folder, tmp_path):
    config = imagenet_config(folder, tmp_path, "arm=inception")

    def measure():
        state, task = supervised.build(config)
        num_polls = []
        accuracy, loss, _ = evaluate(state.network, task.examples, lambda: num_polls.append(1), batch_size=4)
        return round(accuracy * NUM_VALIDATION, 9), loss, len(num_polls)

    alone, by_ranks = measure(), answers(measure, tmp_path, num=4)
    assert by_ranks == [by_ranks[0]] * 4 and by_ranks[0][0] == alone[0] and by_ranks[0][2] == alone[2] == 3
    assert by_ranks[0][1] == pytest.approx(alone[1], rel=1e-6)


def test_a_preempted_job_is_saved_and_then_handed_to_who_puts_it_back(folder, tmp_path):
    """What submitit does on SIGUSR2 it does after the checkpoint, not in the middle of a step."""
    config = imagenet_config(folder, tmp_path, "arm=bn_x5", "train.steps=1000", "train.eval_every=1000", "train.checkpoint_every=1000")

    def job():
        def put_back(*_):
            (num,) = [path.name for path in (run_folder(config) / files.CHECKPOINTS).glob("*.pt")]
            (tmp_path / "put_back").write_text(num)

        signal.signal(signal.SIGUSR2, put_back)
        return run_here(config)

    process = FORK.Process(target=lambda: sys.exit(job()))
    process.start()
    while not (run_folder(config) / files.METRICS).exists() or not (run_folder(config) / files.METRICS).stat().st_size:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGUSR2)
    assert codes([process]) == [128 + signal.SIGUSR2]
    assert (tmp_path / "put_back").read_text().startswith("step-")


def test_the_slurm_launcher_composes():
    slurm = ["hydra/launcher=slurm", "hydra.launcher.tasks_per_node=4", "hydra.launcher.gpus_per_node=4", "hydra.launcher.partition=NAME"]
    refuse_mistakes(["experiment=inception/imagenet", *slurm, "train.sync_bn=true"])
    with pytest.raises(ValueError, match="tasks_per_nod"):
        refuse_mistakes(["experiment=inception/imagenet", "hydra/launcher=slurm", "hydra.launcher.tasks_per_nod=4"])
    config = composed("experiment=inception/imagenet", "arm=bn_x30", "seed=0")
    assert (config.train.steps * config.train.batch_size, config.device) == (992_000_000, "cuda")
    assert (config.train.lr, config.network.drop_rate, config.network.has_lrn) == (pytest.approx(0.045), 0.0, False)
