"""Rebuild a clean W&B run from the record of a run: python scripts/export_wandb.py results/runs/mnist_sigmoid/quick/batch-s0"""

import argparse
import sys
from pathlib import Path

import yaml

from bn_repro.config import WandbConfig
from bn_repro.experiments.tracking import export
from bn_repro.records import files
from bn_repro.records.record import Run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--mode", choices=("online", "offline"), default="offline")
    parser.add_argument("--project", default="bn-repro")
    parser.add_argument("--entity")
    parser.add_argument("--folder", default="results/wandb", help="where offline W&B runs are kept")
    arguments = parser.parse_args()
    settings = WandbConfig(arguments.mode, arguments.project, arguments.entity, arguments.folder)
    for folder in arguments.folders:
        if not Run(folder).config:
            print(f"error: {folder} holds no run", file=sys.stderr)
            sys.exit(2)
        if not export(Run(folder.resolve()), settings, yaml.safe_load((folder / files.CONFIG).read_text())):
            sys.exit(1)
        print(f"exported {folder}")
