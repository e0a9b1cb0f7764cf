"""Judge and draw the runs of a tier on this machine: python scripts/report.py --tier quick [--wandb offline]"""

import argparse
import sys

from bn_repro.launcher.signals import leave_on_signals

if __name__ == "__main__":
    leave_on_signals()  # before the imports that take long

from rich.console import Console

from bn_repro.config import TIERS, WandbConfig
from bn_repro.records.files import PUBLISHED, REPORTS, RUNS
from bn_repro.report.page import write_report
from bn_repro.report.report import Report, build_report
from bn_repro.report.terminal import headline_table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--tier", default="quick", choices=TIERS)
    parser.add_argument("--wandb", default="disabled", choices=("online", "offline", "disabled"), help="log the report as a W&B run")
    parser.add_argument("--project", default="bn-repro", help="W&B project")
    parser.add_argument("--entity", help="W&B user or team; the login's if not given")
    parser.add_argument("--folder", default="results/wandb", help="where offline W&B runs are kept")
    arguments = parser.parse_args()
    report = build_report(RUNS, arguments.tier, PUBLISHED / arguments.tier)
    for damage in report.left_out:
        print(f"warning: left out: {damage}", file=sys.stderr)
    console = Console()
    console.print(headline_table(report, console.width))
    print(f"report: {write_report(report, REPORTS / arguments.tier)}")
    if arguments.wandb == "disabled":
        return 0
    return send(report, WandbConfig(arguments.wandb, arguments.project, arguments.entity, arguments.folder))


def send(report: Report, settings: WandbConfig) -> int:
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
    sys.exit(main())
