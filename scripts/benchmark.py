"""What our code costs beside the plainest code that does the same, as interleaved ratios: python scripts/benchmark.py"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable

import torch
from rich.console import Console
from rich.table import Table

from bn_repro.benchmarks.inception import compare_inception, compare_on_gpu
from bn_repro.benchmarks.sigmoid_mlp import compare_sigmoid_mlp
from bn_repro.benchmarks.timing import Comparison
from bn_repro.command_line import configs_of
from bn_repro.data.images import load_images

SIGMOID_MLP, INCEPTION = "mnist_sigmoid/long", "inception_agreement/long"
SUBJECTS = ("sigmoid_mlp", "inception", "gpu", "mistake")


def show(title: str, rows: Iterable[Comparison], console: Console) -> None:
    """Print the rows of one subject; what misses its bound is marked."""
    table = Table(title=title, title_justify="left")
    for header in ("what", "beside what", "median [quartiles]", "bound", ""):
        table.add_column(header)
    for row in rows:
        low, middle, high = row.quartiles
        kind, side = ("x faster", "at least") if row.is_speedup else ("x the time", "at most")
        numbers = f"{middle:.3f} \\[{low:.3f}, {high:.3f}] {kind}"
        table.add_row(row.what, row.beside, numbers, f"{side} {row.bound:.2f}" if row.bound else "-", "" if row.holds else "MISSED")
    console.print(table)


def mistake_seconds() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "scripts/train.py", f"experiment={SIGMOID_MLP}", "train.lrr=1"], capture_output=True, check=False)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", choices=SUBJECTS, help="one subject instead of all")
    arguments = parser.parse_args()
    rounds, chosen = arguments.rounds, [arguments.only] if arguments.only else SUBJECTS
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    console = Console()
    cpu = torch.device("cpu")
    if "sigmoid_mlp" in chosen:
        arms = {config.norm: config for config in configs_of(SIGMOID_MLP)}
        rows = compare_sigmoid_mlp(arms, load_images(arms["none"].data, cpu)[0], rounds)
        show(f"sigmoid network, {rounds} rounds in turn, one thread", rows, console)
    if "inception" in chosen:
        config = next(config for config in configs_of(INCEPTION) if config.arm == "bn_x5")
        rows = compare_inception(config, load_images(config.data, cpu)[0], rounds)
        show(f"small Inception, {rounds} rounds in turn, one thread", rows, console)
    if "gpu" in chosen and torch.cuda.is_available():
        show(f"Inception on {torch.cuda.get_device_name()}, {rounds} rounds in turn", compare_on_gpu(rounds), console)
    elif "gpu" in chosen:
        print("Inception on a GPU: NOT RUN, there is none here")
    if "mistake" in chosen:
        print(f"a mistake on the command line is answered in {statistics.median(mistake_seconds() for _ in range(5)):.2f} s (at most 1)")


if __name__ == "__main__":
    main()
