"""Make the W&B workspace and report of a tier, or a report of any runs, as code: python scripts/dashboard.py --tier long [--push]"""

import argparse
import sys
from functools import partial

from bn_repro.launcher.signals import leave_on_signals

if __name__ == "__main__":
    leave_on_signals()  # before the imports that take long

from bn_repro.checks.arguments import Parser, answer, one_of, wandb_name
from bn_repro.comparison.runs import find_all
from bn_repro.config import TIERS
from bn_repro.records.files import PUBLISHED, PUBLISHED_RUNS, REPORTS, RUNS
from bn_repro.records.record import experiments_in

MISSING = "wandb-workspaces is not installed; `.venv/bin/uv pip install --python .venv/bin/python wandb-workspaces` does it"


def parse() -> argparse.Namespace:
    """Read the command line.

    Raises:
        ValueError: one line that names the mistake; that a tier has no records is one.
    """
    parser = Parser(description="Make the W&B workspace and report of a tier, or a report of any runs, as code.")
    parser.add_argument("--tier", default="quick", type=one_of(TIERS), help=f"{', '.join(TIERS)} (default: quick)")
    parser.add_argument(
        "--runs", nargs="+", metavar="RUNS", help="a report of these instead: addresses, folders or globs, such as a sweep's"
    )
    parser.add_argument("--project", type=wandb_name, default="bn-repro", help="W&B project (default: bn-repro)")
    parser.add_argument("--entity", type=wandb_name, help="W&B user or team; the login's if not given")
    parser.add_argument("--push", action="store_true", help="make them in W&B; without it they are only told")
    arguments = parser.parse_args()
    tier = arguments.tier
    if arguments.runs:
        arguments.runs = find_all(*arguments.runs)
    elif not experiments_in(RUNS, tier) and not experiments_in(PUBLISHED / tier / PUBLISHED_RUNS, tier):
        raise ValueError(f"no records of tier {tier}; ./scripts/reproduce.sh --tier {tier} makes them")
    return arguments


def main(arguments: argparse.Namespace) -> int:
    tier, project, entity = arguments.tier, arguments.project, arguments.entity
    try:
        from bn_repro.dashboard import dashboard, sweep
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("wandb_workspaces"):
            raise
        print(f"error: {MISSING}", file=sys.stderr)
        return 2
    from bn_repro.dashboard.contents import contents_of
    from bn_repro.experiments.tracking import NOT_LOGGED_IN, is_logged_in, reason_of

    build: dashboard.Build
    if arguments.runs:
        build = partial(sweep.build, project=project, runs=arguments.runs)
    else:
        contents = contents_of(tier, RUNS, REPORTS / tier)
        if not contents.experiments:
            contents = contents_of(tier, PUBLISHED / tier / PUBLISHED_RUNS, PUBLISHED / tier, only_mirrored=False)
        if not contents.experiments:
            print(f"error: no records of tier {tier}; ./scripts/reproduce.sh --tier {tier} makes them", file=sys.stderr)
            return 2
        build = partial(dashboard.build, project=project, contents=contents)
    try:
        made = build("")  # of no entity, so that no server is asked
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not arguments.push:
        print("\n".join(line for each in made for line in dashboard.outline(each)))
        print("nothing was sent; --push does it")
        return 0
    if not is_logged_in():
        print(f"error: {NOT_LOGGED_IN}", file=sys.stderr)
        return 2
    try:
        for url in dashboard.push(entity, build):
            print(f"W&B: {url}")
    except Exception as error:
        print(f"error: W&B failed ({reason_of(error)})", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    answer(parse, main)
