"""Fetch datasets: python scripts/fetch_data.py mnist [cifar10 fashion_mnist] [--folder data]"""

import argparse
import difflib
import sys
from pathlib import Path

from bn_repro.launcher.signals import leave_on_signals

if __name__ == "__main__":
    leave_on_signals()  # before the imports that take long

from bn_repro.data.fetch import fetch_with_source
from bn_repro.data.sources import DATASETS


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch datasets and verify them.")
    parser.add_argument("names", nargs="+", metavar="dataset", help=", ".join(DATASETS))
    parser.add_argument("--folder", type=Path, default=Path("data"), help="where they are kept (default: data)")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in DATASETS:
            (nearest,) = difflib.get_close_matches(name, DATASETS, n=1, cutoff=0.0)
            print(f"unknown dataset {name!r}, nearest: {nearest} (all: {', '.join(DATASETS)})", file=sys.stderr)
            return 2
    for name in arguments.names:
        try:
            splits, source = fetch_with_source(name, arguments.folder)
        except OSError as error:
            print(error, file=sys.stderr)
            return 1
        sizes = ", ".join(f"{split} {len(labels)}" for split, (_, labels) in splits.items())
        print(f"{name}: {sizes}, from {source}, SHA-256 {DATASETS[name].sha256['train'][:12]} (train)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
