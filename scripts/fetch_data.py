"""Fetch datasets: python scripts/fetch_data.py mnist [cifar10 fashion_mnist] [--folder data]"""

import argparse
import sys
from pathlib import Path

from bn_repro.launcher.signals import leave_on_signals

if __name__ == "__main__":
    leave_on_signals()  # before the imports that take long

from bn_repro.checks.arguments import Parser, answer, folder, one_of
from bn_repro.data.fetch import fetch_with_source
from bn_repro.data.sources import DATASETS


def parse() -> argparse.Namespace:
    parser = Parser(description="Fetch datasets and verify them.")
    parser.add_argument("names", nargs="+", type=one_of(tuple(DATASETS)), metavar="DATASET", help=", ".join(DATASETS))
    parser.add_argument("--folder", type=folder, default="data", help="where they are kept (default: data)")
    return parser.parse_args()


def main(arguments: argparse.Namespace) -> int:
    for name in arguments.names:
        try:
            splits, source = fetch_with_source(name, Path(arguments.folder))
        except OSError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        sizes = ", ".join(f"{split} {len(labels)}" for split, (_, labels) in splits.items())
        print(f"{name}: {sizes}, from {source}, SHA-256 {DATASETS[name].sha256['train'][:12]} (train)")
    return 0


if __name__ == "__main__":
    answer(parse, main)
