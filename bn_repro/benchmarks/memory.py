"""How much memory a process takes at its peak, measured in one of its own."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path


def in_a_process_of_its_own(measure: Callable[..., float], *arguments: object) -> float:
    """Return what a function measures in a new process, which has loaded nothing before."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, *arguments).result()


def peak_megabytes() -> float:
    """Return the peak of this process's resident memory so far."""
    # Not ru_maxrss, which starts from the peak of the process that started this one.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024
