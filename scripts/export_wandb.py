"""Rebuild a clean W&B run from the record of a run: python scripts/export_wandb.py results/runs/mnist_sigmoid/quick/batch-s0"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bn_repro.launcher.signals import leave_on_signals

if __name__ == "__main__":
    leave_on_signals()  # before the imports that take long

from bn_repro.config import WandbConfig
from bn_repro.experiments.tracking import export
from bn_repro.records.damage import Damaged
from bn_repro.records.record import Run


def export_all(folders: Sequence[Path], settings: WandbConfig) -> int:
    """Export one run after the other; what cannot be is told in a line, and the others are exported all the same."""
    exit_code = 0
    for folder in folders:
        run = Run(folder.resolve())
        try:
            if not run.config:
                print(f"error: {folder} holds no run", file=sys.stderr)
                exit_code = 2
            elif export(run, settings, run.nested_config):
                print(f"exported {folder}")
            else:
                exit_code = exit_code or 1
        except Damaged as damage:
            print(f"error: {damage}", file=sys.stderr)
            exit_code = exit_code or 1
    return exit_code


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--mode", choices=("online", "offline"), default="offline")
    parser.add_argument("--project", default="bn-repro")
    parser.add_argument("--entity")
    parser.add_argument("--folder", default="results/wandb", help="where offline W&B runs are kept")
    arguments = parser.parse_args()
    settings = WandbConfig(arguments.mode, arguments.project, arguments.entity, arguments.folder)
    sys.exit(export_all(arguments.folders, settings))
