"""Rebuild a clean W&B run from the record of a run: python scripts/export_wandb.py results/runs/mnist_sigmoid/quick/batch-s0"""

import argparse
import sys
from pathlib import Path

from bn_repro.launcher.signals import leave_on_signals

if __name__ == "__main__":
    leave_on_signals()  # before the imports that take long

from bn_repro.checks.arguments import Parser, answer, folder, one_of, wandb_name
from bn_repro.config import WandbConfig
from bn_repro.records import files
from bn_repro.records.damage import Damaged
from bn_repro.records.record import Run

MODES = ("online", "offline")


def parse() -> argparse.Namespace:
    """Read the command line.

    Raises:
        ValueError: one line that names the mistake.
    """
    parser = Parser(description="Rebuild a clean W&B run from the record of a run, in the place of what W&B has of it.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--mode", type=one_of(MODES), default="offline", help=f"{' or '.join(MODES)} (default: offline)")
    parser.add_argument("--project", type=wandb_name, default="bn-repro", help="W&B project (default: bn-repro)")
    parser.add_argument("--entity", type=wandb_name, help="W&B user or team; the login's if not given")
    parser.add_argument("--folder", type=folder, default="results/wandb", help="where offline W&B runs are kept (default: results/wandb)")
    arguments = parser.parse_args()
    for place in arguments.folders:
        if not (place / files.CONFIG).is_file() or not (place / files.METRICS).is_file():
            raise ValueError(f"{place} holds no run; {files.CONFIG} and {files.METRICS} must be in it")
    return arguments


def main(arguments: argparse.Namespace) -> int:
    """Export one run after the other; what cannot be is told in a line, and the others are exported all the same."""
    from bn_repro.experiments.exporting import export

    settings = WandbConfig(arguments.mode, arguments.project, arguments.entity, arguments.folder)
    exit_code = 0
    for run in (Run(place.resolve()) for place in arguments.folders):
        try:
            if export(run, settings, run.nested_config):
                print(f"exported {run.folder}")
            else:
                exit_code = 1
        except Damaged as damage:
            print(f"error: {damage}", file=sys.stderr)
            exit_code = 1
    return exit_code


if __name__ == "__main__":
    answer(parse, main)
