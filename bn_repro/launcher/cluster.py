"""Many runs over a cluster: bundles of them become jobs of submitit, at the addresses that they have on one machine.

A job skips what is finished, goes on with what was interrupted, and is put back into the queue when its time is over.
"""

import importlib.util
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bn_repro.config import RunConfig
from bn_repro.launcher.child import BUSY, DONE, FAILED, SKIPPED, Outcome, outcome_of, result_line
from bn_repro.launcher.grids import needed_run
from bn_repro.launcher.job_settings import job_settings
from bn_repro.launcher.signals import stopping_on_signals
from bn_repro.records import files
from bn_repro.records.damage import Damaged
from bn_repro.records.record import address_of, finished_run

SECONDS_OF_A_JOB = 600.0  # runs are bundled up to it, since a job waits and starts for half a minute
SECONDS_BETWEEN_LOOKS = {"slurm": 10.0, "local": 0.5}


class NoListener:
    """Stand for the process that a run of this machine tells how far it is."""

    def send(self, message: object) -> None:
        pass


@dataclass(frozen=True)
class Bundle:
    """What one job does: some runs, one after another."""

    configs: tuple[RunConfig, ...]

    def __call__(self) -> list[Outcome]:
        from bn_repro.launcher.runs import name_ranks

        name_ranks()
        outcomes = []
        with stopping_on_signals() as is_stopping:
            for config in self.configs:
                outcomes.append(outcome_of(config, NoListener(), is_stopping))
                if is_stopping():
                    break  # leaving the block tells submitit, which calls `checkpoint`
        return outcomes

    def checkpoint(self) -> Any:
        """Return what is to be done when the job starts again: the same, since runs go on from where they are."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def bundles_of(configs: Sequence[RunConfig], seconds_of: Callable[[RunConfig], float | None]) -> list[Bundle]:
    """Bundle runs in their order: a run that starts from another's result comes after it; one of unknown length is alone."""
    chains: dict[str, list[RunConfig]] = {}
    for config in sorted(configs, key=lambda config: needed_run(config) is not None):
        address, needed = address_of(config), needed_run(config)
        chains.setdefault(needed if needed in chains else address, []).append(config)
    bundles: list[list[RunConfig]] = []
    left = 0.0  # of the bundle being filled
    for chain in chains.values():
        known = [seconds_of(config) for config in chain]
        seconds = sum(each for each in known if each is not None) if None not in known else SECONDS_OF_A_JOB
        if seconds > left:
            bundles.append([])
            left = SECONDS_OF_A_JOB
        bundles[-1] += chain
        left -= seconds
    return [Bundle(tuple(bundle)) for bundle in bundles]


@dataclass
class Jobs:
    """The jobs of a tier: those submitted now, and those submitted before that are still in the queue.

    Args:
        folder: where submitit keeps what it sends and logs, and this which run is in which job.
    """

    folder: Path
    cluster: str

    @property
    def file(self) -> Path:
        return self.folder / "jobs.json"

    def submitted_before(self, configs: Sequence[RunConfig]) -> dict[Any, list[RunConfig]]:
        """Return the jobs that are not over and hold some of the runs, and which."""
        from submitit import LocalJob, SlurmJob

        known: dict[str, str] = json.loads(self.file.read_text()) if self.file.exists() else {}
        make = {"slurm": SlurmJob, "local": LocalJob}[self.cluster]
        of_job: dict[str, list[RunConfig]] = {}
        for config in configs:
            if address_of(config) in known:
                of_job.setdefault(known[address_of(config)], []).append(config)
        jobs = {make(self.folder, id): held for id, held in of_job.items()}
        return {job: held for job, held in jobs.items() if job.state != "UNKNOWN" and not job.done()}

    def submit(self, bundles: Sequence[Bundle], settings: Mapping[str, Any]) -> dict[Any, list[RunConfig]]:
        """Submit bundles as one array.

        Raises:
            ValueError: this machine has no such cluster, or it refuses the jobs.
        """
        from submitit import AutoExecutor

        rest = dict(settings)
        try:
            executor = AutoExecutor(self.folder, cluster=self.cluster, slurm_max_num_timeout=rest.pop("slurm_max_num_timeout"))
            executor.update_parameters(**rest, name="bn_repro")
            with executor.batch():
                jobs = [executor.submit(bundle) for bundle in bundles]
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"--launcher {self.cluster}: {str(error).strip().splitlines()[0]}") from error
        held = {job: list(bundle.configs) for job, bundle in zip(jobs, bundles)}
        known = json.loads(self.file.read_text()) if self.file.exists() else {}
        known |= {address_of(config): job.job_id for job, configs in held.items() for config in configs}
        files.write_atomically(self.file, files.as_json(known))
        return held


def run_on_cluster(
    configs: Sequence[RunConfig],
    cluster: str,
    given: Sequence[str],
    console: Console,
    seconds_of: Callable[[RunConfig], float | None],
    on_experiment_end: Callable[[str], None],
) -> list[Outcome]:
    """Submit what is not finished nor in the queue, tell what arrives until all has, and return how each run ended.

    A signal ends the waiting, not the jobs.

    Raises:
        ValueError: a setting is none, this machine has no such cluster, or submitit is not installed.
    """
    if importlib.util.find_spec("submitit") is None:
        raise ValueError(f"--launcher {cluster} needs submitit; pip install 'bn_repro[slurm]' brings it")
    jobs, settings = Jobs(files.JOBS / configs[0].tier, cluster), job_settings(given, configs)
    left: dict[str, RunConfig] = {}
    outcomes: list[Outcome] = []
    for config in configs:
        outcome = outcome_so_far(config)
        if outcome is None:
            left[address_of(config)] = config
        else:
            outcomes.append(outcome)
    before = jobs.submitted_before(list(left.values()))
    in_queue = {address_of(config) for held in before.values() for config in held}
    bundles = bundles_of([config for address, config in left.items() if address not in in_queue], seconds_of)
    held = before | (jobs.submit(bundles, settings) if bundles else {})
    said = f"{len(left)} runs in {len(held)} jobs of {cluster}" + (f", {len(before)} of them submitted before" if before else "")
    console.print(f"{said}; {len(outcomes)} finished already; logs: {jobs.folder}", highlight=False, soft_wrap=True)
    open_runs = Counter(config.experiment for config in left.values())
    for experiment in {config.experiment for config in configs} - set(open_runs):
        on_experiment_end(experiment)
    with stopping_on_signals("interrupted; submitted jobs go on") as is_stopping:
        for outcome in arriving(held, SECONDS_BETWEEN_LOOKS[cluster], is_stopping):
            line = outcome.reason if outcome.kind == DONE else f"{outcome.address}: {outcome.kind}: {outcome.reason}"
            console.print(line, highlight=False, soft_wrap=True)
            outcomes.append(outcome)
            experiment = left[outcome.address].experiment
            open_runs[experiment] -= 1
            if open_runs[experiment] == 0:
                on_experiment_end(experiment)
    if is_stopping():
        console.print("the jobs go on without this command; --collect judges what has arrived", highlight=False)
    return outcomes


def outcome_so_far(config: RunConfig) -> Outcome | None:
    try:
        return Outcome(address_of(config), SKIPPED) if finished_run(config) else None
    except Damaged as damage:
        return Outcome(address_of(config), FAILED, str(damage))


def arriving(held: Mapping[Any, Sequence[RunConfig]], seconds_between_looks: float, is_stopping: Callable[[], bool]) -> Iterator[Outcome]:
    """Yield how runs ended, each as soon as its record is there or its job is over; end early when asked to stop."""
    waiting = {job: list(configs) for job, configs in held.items()}
    while waiting and not is_stopping():
        for job in list(waiting):
            is_over = job.done()  # before looking at the records, so that none arrives in between
            for config in list(waiting[job]):
                outcome = ended_as(config, job if is_over else None)
                if outcome:
                    waiting[job].remove(config)
                    yield outcome
            if not waiting[job]:
                del waiting[job]
        if waiting:
            time.sleep(seconds_between_looks)


def ended_as(config: RunConfig, ended_job: Any) -> Outcome | None:
    """Return how a run ended by its record or, where its job is over without one, by what the job says."""
    address = address_of(config)
    try:
        run = finished_run(config)
    except Damaged as damage:
        return Outcome(address, FAILED, str(damage)) if ended_job else None
    if run:
        return Outcome(address, DONE, result_line(address, run.summary))
    if not ended_job:
        return None
    try:
        told = {outcome.address: outcome for outcome in ended_job.results()[0]}
    except Exception as error:  # whatever ended the job, of any class
        return Outcome(address, FAILED, f"job {ended_job.job_id}: {type(error).__name__}: {str(error).strip().splitlines()[0]}")
    left_alone = Outcome(address, BUSY, f"job {ended_job.job_id} ended before it")
    return told.get(address, left_alone)
