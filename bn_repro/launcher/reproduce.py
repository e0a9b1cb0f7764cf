"""Do every run of a tier, skip what is done, tell each study's verdicts as it ends, and last the first table."""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bn_repro.config import Config, RunConfig
from bn_repro.data.fetch import check_image_folder, fetch
from bn_repro.launcher.child import DONE, FAILED, INTERRUPTED, Outcome
from bn_repro.launcher.grids import arm_of, configs_of, with_needed_runs
from bn_repro.launcher.progress import clock
from bn_repro.launcher.runs import estimated_seconds, run_many
from bn_repro.launcher.signals import stopping_on_signals
from bn_repro.records.damage import Damaged
from bn_repro.records.files import PUBLISHED, REPORTS, RUNS
from bn_repro.records.record import Run, address_of, finished_run, run_folder

if TYPE_CHECKING:
    from bn_repro.launcher.choice import Choice

# Each run's process imports this file once more, so what only this process needs is imported where it is used.
WIDTH_OF_A_FILE = 160  # columns, where what is printed goes to no terminal


def main(arguments: argparse.Namespace) -> int:
    try:
        choice, configs = asked_for(arguments.tier, arguments.only)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments.dry_run:
        return dry_run(configs, arguments.jobs, arguments.images_per_second)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH_OF_A_FILE)
    if arguments.collect:
        return collect(arguments, choice, configs, console)
    try:
        if arguments.launcher != "slurm":  # whose nodes are other machines
            refuse_missing_devices(configs)
        prepare(configs)
    except ValueError as error:
        print(f"error: tier {arguments.tier} cannot run here: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    names = ", ".join(name.split("/")[0] for name in choice.experiments)
    to_do = [config for config in configs if state_of(config) != DONE]
    done = f" ({len(configs) - len(to_do)} are done)" if len(to_do) < len(configs) else ""
    console.print(f"tier {arguments.tier}: {len(configs)} runs{done} of {names}", highlight=False)
    if not to_do:
        last_screen(arguments.tier, choice.claims, arguments.all_claims, console)
        return 0
    told = {name.split("/")[0] for name in choice.experiments} if choice.claims is None else set()  # else last_screen has them
    verdicts = Verdicts(arguments.tier, told & {config.experiment for config in to_do}, console)
    with stopping_on_signals() as is_stopping:
        try:
            outcomes = outcomes_of(arguments, configs, console, verdicts)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    failed = [outcome for outcome in outcomes if outcome.kind == FAILED]
    for outcome in failed:
        print(f"failed: {outcome.address}: {outcome.reason}", file=sys.stderr)
    if len(outcomes) < len(configs) or any(outcome.kind == INTERRUPTED for outcome in outcomes):
        console.print("interrupted; all that was done is kept, and the same command goes on from here")
        return is_stopping.exit_code
    last_screen(arguments.tier, choice.claims, arguments.all_claims, console)
    return 1 if failed else 0


def outcomes_of(arguments: argparse.Namespace, configs: list[RunConfig], console: Console, verdicts: "Verdicts") -> list[Outcome]:
    """Do the runs where they are asked for: on this machine's cores, or on a cluster."""

    def seconds_of(config: RunConfig) -> float | None:
        return estimated_seconds(config, PUBLISHED)

    if arguments.launcher == "cores":
        return run_many(configs, arguments.jobs, console, seconds_of, verdicts)

    from bn_repro.launcher.cluster import run_on_cluster

    return run_on_cluster(configs, arguments.launcher, arguments.slurm, console, seconds_of, verdicts)


def collect(arguments: argparse.Namespace, choice: "Choice", configs: list[RunConfig], console: Console) -> int:
    """Judge the records that are there, say how many are not, and do no run."""
    states = Counter(map(state_of, configs))
    counted = ", ".join(f"{number} {state}" for state, number in states.items())
    console.print(f"tier {arguments.tier}: of {len(configs)} runs {counted}", highlight=False)
    last_screen(arguments.tier, choice.claims, arguments.all_claims, console)
    return 0


def asked_for(tier: str, only: Sequence[str]) -> tuple["Choice", list[RunConfig]]:
    """Return what is to be done and shown, and the configs of its runs in that order.

    Raises:
        ValueError: there is no such thing.
    """
    from bn_repro.launcher.choice import choose_all
    from bn_repro.studies import STUDIES

    configs = cache(configs_of)

    def seconds_of(experiment: str) -> float:
        known = [estimated_seconds(config, PUBLISHED) for config in configs(experiment)]
        return sum(math.inf if seconds is None else seconds for seconds in known)

    choice = choose_all(tier, only, STUDIES, seconds_of)
    wanted = [config for name in choice.experiments for config in configs(name) if choice.has(arm_of(config))]
    return choice, with_needed_runs(wanted)


class Verdicts:
    """Print a study's answer and verdicts when the last of its experiments that are done here has ended."""

    def __init__(self, tier: str, experiments: set[str], console: Console):
        self.tier, self.console = tier, console
        self.open = set(experiments)

    def __call__(self, experiment: str) -> None:
        from bn_repro.report.report import build_report
        from bn_repro.report.terminal import chapter_lines
        from bn_repro.studies import STUDIES

        if experiment not in self.open:
            return
        self.open.discard(experiment)
        ended = [study for study in STUDIES if experiment in study.experiments and not self.open & set(study.experiments)]
        for chapter in build_report(RUNS, self.tier, None, ended, has_figures=False).chapters:
            if chapter.answered:
                self.console.print(chapter_lines(chapter, chapter.answered))


def last_screen(tier: str, claims: frozenset[str] | None, has_all_claims: bool, console: Console) -> None:
    """Write the report; print the first table, or the claims that were asked for, and where the report is."""
    from bn_repro.report.agreement import agreement
    from bn_repro.report.page import write_report
    from bn_repro.report.report import build_report
    from bn_repro.report.terminal import chapter_lines, headline_table

    report = build_report(RUNS, tier, PUBLISHED / tier)
    for damage in report.left_out:
        print(f"warning: left out: {damage}", file=sys.stderr)
    page = write_report(report, REPORTS / tier)
    for chapter in report.chapters if has_all_claims or claims is not None else ():
        shown = [answer for answer in chapter.answers if claims is None or has_all_claims or answer.id in claims]
        if shown:
            console.print(chapter_lines(chapter, shown))
    if claims is None:
        console.print(headline_table(report, console.width))
    agrees = agreement(report.answers, report.published)
    console.print(f"{agrees}\nreport: {page}".strip(), highlight=False, markup=False)


def refuse_missing_devices(configs: list[RunConfig]) -> None:
    """Raise ValueError where this machine lacks a device that is asked for."""
    for name in {config.device for config in configs} - {"cpu"}:
        from bn_repro.experiments.environment import available_device  # loads torch, which a CPU's tier does not need in this process

        available_device(name)


def prepare(configs: list[RunConfig]) -> None:
    """Check what cannot be fetched, then fetch what can.

    Raises:
        OSError: a dataset is not to be had.
    """
    sources = sorted({source for config in configs for source in config.sources})
    for _, folder in (source for source in sources if source[0] == "image_folder"):
        check_image_folder(Path(folder))
    fetched = [(name, Path(folder)) for name, folder in sources if name != "image_folder" and not name.startswith("synthetic")]
    with ThreadPoolExecutor() as pool:  # they wait for the network
        list(pool.map(lambda source: fetch(*source), fetched))


def dry_run(configs: list[RunConfig], jobs: int, images_per_second: float | None) -> int:
    """Print every run, its estimated time from the published records, and its state; do nothing."""
    total: float | None = 0.0
    for config in configs:
        state, seconds = state_of(config), estimated_seconds(config, PUBLISHED)
        print(f"{state:12}{clock(seconds):>8}  {address_of(config)}")
        if state != DONE:
            total = None if total is None or seconds is None else total + seconds
    print(f"{len(configs)} runs; about {clock(None if total is None else total / jobs)} to go with {jobs} at once")
    if configs[0].tier == "imagenet":
        from bn_repro.launcher.cost import projected_cost

        print("\n".join(projected_cost([config for config in configs if isinstance(config, Config)], images_per_second)))
    return 0


def state_of(config: RunConfig) -> str:
    """Say in a word how far a run is."""
    run = Run(run_folder(config))
    try:
        if finished_run(config):
            return DONE
        return "interrupted" if run.config and not run.has_summary else "to do"
    except Damaged:
        return "damaged"
