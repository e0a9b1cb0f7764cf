"""Do every run of a tier, skip what is done, and print the claim table: ./scripts/reproduce.sh --tier quick"""

import argparse
import os
import signal
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bn_repro.config import TIERS, Config, differences, nearest
from bn_repro.data.fetch import check_image_folder, fetch
from bn_repro.launcher.grids import configs_of, experiments, on_all_networks
from bn_repro.launcher.progress import clock
from bn_repro.launcher.runs import FAILED, INTERRUPTED, estimated_seconds, run_many
from bn_repro.records.files import PUBLISHED, REPORTS, RUNS
from bn_repro.records.record import Run, address_of, run_folder

# Each run's process imports this file once more, so what only the end needs is imported there.


def main() -> int:
    arguments = parse()
    try:
        chosen, claims = chosen_experiments(arguments.tier, arguments.only)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    configs = [config for name in chosen for config in configs_of(name)]
    if arguments.dry_run:
        return dry_run(configs, arguments.jobs, arguments.images_per_second)
    console = Console()
    try:
        prepare(configs)
    except ValueError as error:
        print(f"error: tier {arguments.tier} cannot run here: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    console.print(f"tier {arguments.tier}: {len(configs)} runs of {', '.join(name.split('/')[0] for name in chosen)}", highlight=False)
    ended: set[str] = set()

    def show_claims(experiment: str) -> None:
        ended.add(experiment)
        lines = answers_of(arguments.tier, experiment, ended)
        if lines.row_count:
            console.print(lines)

    outcomes = run_many(configs, arguments.jobs, console, lambda config: estimated_seconds(config, PUBLISHED), show_claims)
    failed = [outcome for outcome in outcomes if outcome.kind == FAILED]
    for outcome in failed:
        print(f"failed: {outcome.address}: {outcome.reason}", file=sys.stderr)
    if len(outcomes) < len(configs) or any(outcome.kind == INTERRUPTED for outcome in outcomes):
        console.print("interrupted; all that was done is kept, and the same command goes on from here")
        return 128 + signal.SIGINT

    from bn_repro.report.claim_table import as_terminal_table, headline
    from bn_repro.report.page import write_report
    from bn_repro.report.report import build_report

    report = build_report(RUNS, arguments.tier, PUBLISHED / arguments.tier)
    page = write_report(report, REPORTS / arguments.tier)
    console.print(as_terminal_table(report, claims))
    console.print(f"{headline(report, claims)}\nreport: {page}", highlight=False)
    return 1 if failed else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./scripts/reproduce.sh", description=__doc__.split(":")[0] + ".")
    parser.add_argument("--tier", default="quick", choices=TIERS, help="size of all experiments (default: quick)")
    only = "do the runs of one experiment, on all its networks, or those that one claim needs"
    parser.add_argument("--only", metavar="EXPERIMENT_OR_CLAIM", help=only)
    parser.add_argument("--jobs", type=positive, default=os.cpu_count(), metavar="N", help="runs at once (default: one a core)")
    parser.add_argument("--dry-run", action="store_true", help="list every run, its estimated time and whether it is done; do nothing")
    parser.add_argument("--images-per-second", type=speed, metavar="X", help="speed of training, for the hours of tier imagenet")
    return parser.parse_args()


def positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number of runs; give 1 or more")
    return int(text)


def speed(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a speed; give a number above 0")
    return number


def chosen_experiments(tier: str, only: str | None) -> tuple[list[str], set[str] | None]:
    """Return the experiments to do, and the claims to show (None: all).

    Raises:
        ValueError: the tier has no experiments, or `only` names neither an experiment of it nor a claim.
    """
    names = experiments(tier)
    if not names:
        raise ValueError(f"tier {tier} has no experiments yet")
    if only is None:
        return names, None

    from bn_repro.studies.claims import CLAIMS

    by_claim = {claim.id: claim.experiments for claim in CLAIMS}
    wanted = by_claim.get(only) or {name.split("/")[0] for name in on_all_networks(f"{only}/{tier}")}
    chosen = [name for name in names if name.split("/")[0] in wanted and "/" not in only]
    if not chosen:
        bases = [name.split("/")[0] for name in names]
        near = nearest(only, [*bases, *by_claim])
        raise ValueError(f"--only {only}: no such experiment or claim{near}; choices: {', '.join(bases)}, and the ids in claims.json")
    shown = {only} if only in by_claim else {id for id, needed in by_claim.items() if needed & wanted}
    return chosen, shown


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


def answers_of(tier: str, experiment: str, ended: set[str]) -> Table:
    """Return a line for every claim that the experiment was the last to be needed for."""
    from bn_repro.report.claim_table import as_terminal_lines
    from bn_repro.report.report import build_report
    from bn_repro.studies.claims import CLAIMS

    claims = [claim for claim in CLAIMS if experiment in claim.experiments <= ended]
    return as_terminal_lines(build_report(RUNS, tier, PUBLISHED / tier, claims, has_figures=False))


def dry_run(configs: list[Config], jobs: int, images_per_second: float | None) -> int:
    """Print every run, its estimated time from the published records, and its state; do nothing."""
    total: float | None = 0.0
    for config in configs:
        run = Run(run_folder(config))
        is_done = run.is_complete and not differences(config, run.config)
        seconds = estimated_seconds(config, PUBLISHED)
        state = "done" if is_done else "interrupted" if run.config and not run.is_complete else "to do"
        print(f"{state:12}{clock(seconds):>8}  {address_of(config)}")
        if not is_done:
            total = None if total is None or seconds is None else total + seconds
    print(f"{len(configs)} runs; about {clock(None if total is None else total / jobs)} to go with {jobs} at once")
    if configs[0].tier == "imagenet":
        from bn_repro.launcher.cost import projected_cost

        print("\n".join(projected_cost(configs, images_per_second)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
