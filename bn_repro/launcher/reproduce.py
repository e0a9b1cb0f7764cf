"""Do every run of a tier, skip what is done, tell each study's verdicts as it ends, and last the first table."""

import argparse
import json
import os
import sys
from pathlib import Path

from rich.console import Console

from bn_repro.checks.arguments import Parser, num_jobs, one_of, speed, words
from bn_repro.checks.values import nearest, shown, told
from bn_repro.config import TIERS, Config
from bn_repro.data.fetch import check_image_folder, fetch
from bn_repro.launcher.child import DONE, FAILED, INTERRUPTED
from bn_repro.launcher.grids import CONFIGS, configs_of, experiments, with_needed_runs
from bn_repro.launcher.progress import clock
from bn_repro.launcher.runs import estimated_seconds, run_many
from bn_repro.launcher.signals import stopping_on_signals
from bn_repro.records.damage import Damaged
from bn_repro.records.files import PUBLISHED, REPORTS, RULES, RUNS
from bn_repro.records.record import Run, address_of, finished_run, run_folder

# Each run's process imports this file once more, so what only this process needs is imported where it is used.
STUDY_FILES = Path(__file__).parents[1] / "studies"
WIDTH_OF_A_FILE = 160  # columns, where what is printed goes to no terminal


def main(arguments: argparse.Namespace) -> int:
    from bn_repro.launcher.choice import choose
    from bn_repro.studies import STUDIES

    configs: dict[str, list[Config]] = {}

    def seconds_of(experiment: str) -> float:
        known = [estimated_seconds(config, PUBLISHED) for config in configs.setdefault(experiment, configs_of(experiment))]
        return float("inf") if None in known else sum(known)

    try:
        choice = choose(arguments.tier, arguments.only, STUDIES, seconds_of)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    chosen = with_needed_runs([config for name in choice.experiments for config in configs.setdefault(name, configs_of(name))])
    if arguments.dry_run:
        return dry_run(chosen, arguments.jobs, arguments.images_per_second)
    try:
        prepare(chosen)
    except ValueError as error:
        print(f"error: tier {arguments.tier} cannot run here: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH_OF_A_FILE)
    names = ", ".join(name.split("/")[0] for name in choice.experiments)
    console.print(f"tier {arguments.tier}: {len(chosen)} runs of {names}", highlight=False)
    with stopping_on_signals() as is_stopping:
        outcomes = run_many(
            chosen,
            arguments.jobs,
            console,
            lambda config: estimated_seconds(config, PUBLISHED),
            Verdicts(arguments.tier, choice.experiments, console),
        )
    failed = [outcome for outcome in outcomes if outcome.kind == FAILED]
    for outcome in failed:
        print(f"failed: {outcome.address}: {outcome.reason}", file=sys.stderr)
    if len(outcomes) < len(chosen) or any(outcome.kind == INTERRUPTED for outcome in outcomes):
        console.print("interrupted; all that was done is kept, and the same command goes on from here")
        return is_stopping.exit_code
    last_screen(arguments.tier, choice.claims, arguments.all_claims, console)
    return 1 if failed else 0


class Verdicts:
    """Print a study's answer and verdicts when the last of its experiments that are done here has ended."""

    def __init__(self, tier: str, experiments: list[str], console: Console):
        self.tier, self.console = tier, console
        self.open = {name.split("/")[0] for name in experiments}

    def __call__(self, experiment: str) -> None:
        from bn_repro.report.report import build_report
        from bn_repro.report.terminal import chapter_lines
        from bn_repro.studies import STUDIES

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
        shown = [answer for answer in chapter.answers if has_all_claims or answer.id in claims]
        console.print(chapter_lines(chapter, shown)) if shown else None
    if claims is None:
        console.print(headline_table(report, console.width))
    for line in (agreement(report.answers, report.published), f"report: {page}"):
        console.print(line, highlight=False, markup=False) if line else None


def parse() -> argparse.Namespace:
    """Read the command line.

    Raises:
        ValueError: one line that names the mistake.
    """
    parser = Parser(prog="./scripts/reproduce.sh", description=__doc__)
    parser.add_argument("--tier", default="quick", type=one_of(TIERS), help=f"size of all experiments: {', '.join(TIERS)} (default: quick)")
    only = "do the runs of one study, of one experiment, or those that one claim needs"
    parser.add_argument("--only", type=words, metavar="STUDY_EXPERIMENT_OR_CLAIM", help=only)
    parser.add_argument("--jobs", type=num_jobs, default=os.cpu_count(), metavar="N", help="runs at once (default: one a core)")
    parser.add_argument("--all-claims", action="store_true", help="print every claim at the end, not the first table alone")
    parser.add_argument("--dry-run", action="store_true", help="list every run, its estimated time and whether it is done; do nothing")
    parser.add_argument("--images-per-second", type=speed, metavar="X", help="speed of training, for the hours of tier imagenet")
    arguments = parser.parse_args()
    if arguments.images_per_second and (arguments.tier != "imagenet" or not arguments.dry_run):
        raise ValueError("--images-per-second has no effect without --tier imagenet --dry-run")
    if arguments.only:
        refuse_unknown(arguments.only, arguments.tier)
    return arguments


def refuse_unknown(only: str, tier: str) -> None:
    """Refuse what is no study, experiment or claim, before these are loaded, which takes seconds."""
    names = [name.split("/")[0] for name in experiments(tier)]
    studies = [path.stem for path in STUDY_FILES.iterdir() if not path.stem.startswith(("_", "study"))]  # a file or folder a study
    ids = json.loads((CONFIGS.parent / RULES).read_text())
    if only not in {*names, *studies, *ids}:
        choices = sorted({*names, *studies})
        about = f"{nearest(only, [*choices, *ids])}; {told(only, choices)}"
        raise ValueError(f"--only {shown(only)}: no such study, experiment or claim in tier {tier}{about}; claims: the ids in {RULES}")


def prepare(configs: list[Config]) -> None:
    """Check what cannot be fetched, then fetch what can.

    Raises:
        OSError: a dataset is not to be had.
        ValueError: this machine lacks a device that is asked for.
    """
    sources = sorted({(config.data.name, config.data.folder) for config in configs})
    for _, folder in (source for source in sources if source[0] == "image_folder"):
        check_image_folder(Path(folder))
    for name in {config.device for config in configs} - {"cpu"}:
        from bn_repro.experiments.environment import available_device  # loads torch, which a CPU's tier does not need in this process

        available_device(name)
    for name, folder in sources:
        if name != "image_folder" and not name.startswith("synthetic"):
            fetch(name, Path(folder))


def dry_run(configs: list[Config], jobs: int, images_per_second: float | None) -> int:
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

        print("\n".join(projected_cost(configs, images_per_second)))
    return 0


def state_of(config: Config) -> str:
    """Say in a word how far a run is."""
    run = Run(run_folder(config))
    try:
        if finished_run(config):
            return DONE
        return "interrupted" if run.config and not run.has_summary else "to do"
    except Damaged:
        return "damaged"
