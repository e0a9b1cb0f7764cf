"""What our code costs beside the plainest code that does the same: each subject measured, and its table printed."""

import statistics
import subprocess
import sys
import time
from collections.abc import Collection, Iterable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bn_repro.benchmarks import evolution
from bn_repro.benchmarks.evolution import compare_playing, frames_per_second, peak_of_a_generation
from bn_repro.benchmarks.inception import compare_inception, compare_on_gpu
from bn_repro.benchmarks.logging_tax import MAX_MEGABYTES, MAX_RANK_ERROR, compare_logging, megabytes_added, rank_errors_after
from bn_repro.benchmarks.memory import in_a_process_of_its_own
from bn_repro.benchmarks.norms import compare_norms
from bn_repro.benchmarks.sigmoid_mlp import compare_sigmoid_mlp
from bn_repro.benchmarks.timing import Comparison
from bn_repro.config import Config
from bn_repro.config.evolution import EvolutionConfig
from bn_repro.config.images import of_images
from bn_repro.data.images import Images, load_images
from bn_repro.launcher.grids import configs_of

SIGMOID_MLP, INCEPTION, EVOLUTION = "mnist_sigmoid/long", "inception_agreement/long", "evolution_curves/long"


def measure(subjects: Collection[str], rounds: int) -> None:
    """Measure the subjects in turn, and print a table of each."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    console = Console()
    if "sigmoid_mlp" in subjects:
        arms = {config.norm: config for config in trainings_of(SIGMOID_MLP)}
        rows = compare_sigmoid_mlp(arms, training_images(arms["none"]), rounds)
        show(f"sigmoid network, {rounds} rounds in turn, one thread", rows, console)
    if "inception" in subjects:
        config = next(config for config in trainings_of(INCEPTION) if config.arm == "bn_x5")
        rows = compare_inception(config, training_images(config), rounds)
        show(f"small Inception, {rounds} rounds in turn, one thread", rows, console)
    if "norms" in subjects:
        show(f"norms, {rounds} rounds in turn, one thread", compare_norms(rounds), console)
    if "evolution" in subjects:
        runs = [run for run in configs_of(EVOLUTION) if isinstance(run, EvolutionConfig)]
        for run in {run.game.name: run for run in runs}.values():
            title = f"{run.game.name}, {frames_per_second(run):,.0f} frames a second on one core by the emulators alone"
            show(f"{title}, {max(1, rounds // 5)} rounds in turn", compare_playing(run, max(1, rounds // 5)), console)
        for run in {run.arm: run for run in runs if run.train.steps}.values():
            peak = in_a_process_of_its_own(peak_of_a_generation, run)
            print(f"{run.arm}, {evolution.LARGE_POPULATION:,} policies: {peak:,.0f} MB at the peak (at most {evolution.MAX_MEGABYTES:,})")
    if "logging" in subjects:
        mlp = next(config for config in trainings_of(SIGMOID_MLP) if config.norm == "batch")
        inception = next(config for config in trainings_of(INCEPTION) if config.arm == "bn_x5")
        for name, config, num, steps in (("sigmoid network", mlp, rounds, 100), ("small Inception", inception, max(1, rounds // 3), 10)):
            images = training_images(config)
            show(f"logging in {name}, {num} rounds in turn, one thread", compare_logging(config, images, num, 10, steps), console)
            show_rank_errors(f"percentiles 15, 50, 85 in {name} after 50 steps", rank_errors_after(config, images, 50))
        print(f"the recorder adds {megabytes_added(inception, images.shape):.0f} MB to the small Inception (at most {MAX_MEGABYTES})")
    if "gpu" in subjects and torch.cuda.is_available():
        show(f"Inception on {torch.cuda.get_device_name()}, {rounds} rounds in turn", compare_on_gpu(rounds), console)
        on_gpu = compare_norms(rounds, device="cuda", settle=torch.cuda.synchronize)
        show(f"norms on {torch.cuda.get_device_name()}, {rounds} rounds in turn", on_gpu, console)
    elif "gpu" in subjects:
        print("Inception on a GPU: NOT RUN, there is none here")
    if "mistake" in subjects:
        print(f"a mistake on the command line is answered in {statistics.median(mistake_seconds() for _ in range(5)):.2f} s (at most 1)")


def trainings_of(experiment: str) -> list[Config]:
    return [config for config in configs_of(experiment) if isinstance(config, Config)]


def training_images(config: Config) -> Images:
    return load_images(of_images(config)[0], torch.device("cpu"))[0]


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


def show_rank_errors(title: str, errors: dict[str, tuple[np.ndarray, np.ndarray, float]]) -> None:
    """Print a row for each layer, with the values before and after its norm beside one another."""

    def cells(site: str) -> list[str]:
        if site not in errors:
            return [""] * 3
        exact, ours, error = errors[site]
        return [" ".join(f"{value:.3f}" for value in exact), " ".join(f"{value:.3f}" for value in ours), f"{error:.4f}"]

    largest = max(error for _, _, error in errors.values())
    kept = "" if largest < MAX_RANK_ERROR else ", MISSED"
    table = Table(title=f"{title}: largest rank error {largest:.4f} (below {MAX_RANK_ERROR}{kept})", title_justify="left")
    for header in ("layer", "into the norm: exact", "ours", "rank error", "out of it: exact", "ours", "rank error"):
        table.add_column(header, no_wrap=True)
    # What enters a norm is what leaves the affine map before it.
    for layer in dict.fromkeys(site.rsplit("/", 1)[0] for site in errors if not site.endswith("affine/out")):
        table.add_row(layer.removesuffix(".norm"), *cells(f"{layer}/in"), *cells(f"{layer}/out"))
    Console(width=170).print(table)


def mistake_seconds() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "scripts/train.py", f"experiment={SIGMOID_MLP}", "train.lrr=1"], capture_output=True, check=False)
    return time.perf_counter() - started
