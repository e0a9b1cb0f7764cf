"""Judge and draw the runs of a tier on this machine: python scripts/report.py --tier quick [--wandb offline]"""

import argparse
import sys
from typing import TYPE_CHECKING

from bn_repro.launcher.signals import leave_on_signals

if __name__ == "__main__":
    leave_on_signals()  # before the imports that take long

from bn_repro.checks.arguments import Parser, answer, folder, one_of, wandb_name
from bn_repro.config import TIERS, WandbConfig
from bn_repro.records.files import PUBLISHED, REPORTS, RUNS
from bn_repro.records.record import experiments_in

if TYPE_CHECKING:
    from bn_repro.report.report import Report

MODES = ("online", "offline", "disabled")
OF_WANDB = {"project": "bn-repro", "entity": None, "folder": "results/wandb"}


def parse() -> argparse.Namespace:
    """Read the command line.

    Raises:
        ValueError: one line that names the mistake; that a tier has no records is one.
    """
    parser = Parser(description="Judge and draw the runs of a tier on this machine.")
    parser.add_argument("--tier", default="quick", type=one_of(TIERS), help=f"{', '.join(TIERS)} (default: quick)")
    parser.add_argument("--wandb", default="disabled", type=one_of(MODES), help="log the report as a W&B run (default: disabled)")
    parser.add_argument("--project", type=wandb_name, help="W&B project (default: bn-repro)")
    parser.add_argument("--entity", type=wandb_name, help="W&B user or team; the login's if not given")
    parser.add_argument("--folder", type=folder, help="where offline W&B runs are kept (default: results/wandb)")
    arguments = parser.parse_args()
    for name, default in OF_WANDB.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
        elif arguments.wandb == "disabled":
            raise ValueError(f"--{name} has no effect without --wandb online or offline")
    if not experiments_in(RUNS, arguments.tier):
        raise ValueError(f"no records of tier {arguments.tier} in {RUNS}; ./scripts/reproduce.sh --tier {arguments.tier} makes them")
    return arguments


def main(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from bn_repro.report.page import write_report
    from bn_repro.report.report import build_report
    from bn_repro.report.terminal import headline_table

    report = build_report(RUNS, arguments.tier, PUBLISHED / arguments.tier)
    for damage in report.left_out:
        print(f"warning: left out: {damage}", file=sys.stderr)
    console = Console()
    console.print(headline_table(report, console.width))
    print(f"report: {write_report(report, REPORTS / arguments.tier)}")
    if arguments.wandb == "disabled":
        return 0
    return send(report, WandbConfig(arguments.wandb, arguments.project, arguments.entity, arguments.folder))


def send(report: "Report", settings: WandbConfig) -> int:
    """Log the report as a W&B run; say where it is, or in one line why it is not."""
    from bn_repro.dashboard.report_run import log_report
    from bn_repro.experiments.tracking import NOT_LOGGED_IN, is_logged_in, reason_of

    if settings.mode == "online" and not is_logged_in():
        print(f"error: {NOT_LOGGED_IN}", file=sys.stderr)
        return 2
    try:
        print(f"W&B: {log_report(report, RUNS, settings)}")
    except Exception as error:
        print(f"error: W&B failed ({reason_of(error)})", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    answer(parse, main)
