"""Do every run of a tier, skip what is done, and print the claim table: ./scripts/reproduce.sh --tier quick"""

import argparse
import difflib
import os
import sys
from pathlib import Path

from rich.console import Console

from bn_repro.command_line import configs_of, experiments
from bn_repro.config import Config, differences
from bn_repro.launch import FAILED, INTERRUPTED, estimated_seconds, run_many
from bn_repro.progress import clock
from bn_repro.records.record import Run, address_of, run_folder

PUBLISHED = Path("results/published")
TIERS = ("smoke", "quick", "long")


def main() -> int:
    arguments = parse()
    chosen = chosen_experiments(arguments.tier, arguments.only)
    configs = [config for name in chosen for config in configs_of(name)]
    if arguments.dry_run:
        return dry_run(configs, arguments.jobs)
    console = Console()
    done = run_many(configs, arguments.jobs, console, lambda config: estimated_seconds(config, PUBLISHED))
    failed = [outcome for outcome in done if outcome.kind == FAILED]
    for outcome in failed:
        console.print(f"failed: {outcome.address}: {outcome.reason}", highlight=False, markup=False)
    if len(done) < len(configs) or any(outcome.kind == INTERRUPTED for outcome in done):
        console.print("interrupted; everything done is kept, and the same command goes on from here")
        return 130
    return 1 if failed else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./scripts/reproduce.sh", description=__doc__.split(":")[0])
    parser.add_argument("--tier", default="quick", choices=TIERS, help="size of all experiments (default: quick)")
    parser.add_argument("--only", metavar="EXPERIMENT_OR_CLAIM", help="do the runs of one experiment, or those that one claim needs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="runs at once (default: one a core)")
    parser.add_argument("--dry-run", action="store_true", help="list every run, its estimated time and whether it is done; do nothing")
    return parser.parse_args()


def chosen_experiments(tier: str, only: str | None) -> list[str]:
    names = experiments(tier)
    if only is None:
        return names
    choices = [name.split("/")[0] for name in names]
    if only in choices:
        return [f"{only}/{tier}"]
    close = difflib.get_close_matches(only, choices, n=1)
    print(f"error: --only {only}: no such experiment or claim{f'; did you mean {close[0]}?' if close else ''}; choices: {', '.join(choices)}", file=sys.stderr)
    sys.exit(2)


def dry_run(configs: list[Config], jobs: int) -> int:
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
