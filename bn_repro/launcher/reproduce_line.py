"""What the command line of a reproduction asks for, and every mistake in it, found before studies or torch are loaded."""

import argparse
import importlib.util
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from bn_repro.checks.arguments import Parser, num_jobs, one_of, speed, words
from bn_repro.checks.values import check_folder, nearest, shown, told
from bn_repro.config import TIERS
from bn_repro.launcher.grids import CONFIGS, config_of, experiments, grid
from bn_repro.launcher.job_settings import given_settings
from bn_repro.launcher.machine import refuse_device, refuse_missing_extra, refuse_sources
from bn_repro.records.files import RULES

LAUNCHERS = ("cores", "slurm", "local")
DESCRIPTION = "Do every run of a tier, skip what is done, tell each study's verdicts as it ends, and last the first table."
STUDY_FILES = Path(__file__).parents[1] / "studies"


def parse() -> argparse.Namespace:
    """Read the command line.

    Raises:
        ValueError: one line that names the mistake.
    """
    parser = Parser(prog="./scripts/reproduce.sh", description=DESCRIPTION)
    parser.add_argument("--tier", default="quick", type=one_of(TIERS), help=f"size of all experiments: {', '.join(TIERS)} (default: quick)")
    only = "do the runs of a study, of an experiment, or those that a claim needs; or of several, with commas between"
    parser.add_argument("--only", type=names, default=(), metavar="STUDY_EXPERIMENT_OR_CLAIM", help=only)
    parser.add_argument("--jobs", type=num_jobs, metavar="N", help="runs at once (default: one a core)")
    launcher = "where runs are done: cores of this machine (default), jobs of slurm, or local, which tries out here what slurm does"
    parser.add_argument("--launcher", default="cores", type=one_of(LAUNCHERS), help=launcher)
    slurm = "what jobs ask for, such as partition=NAME timeout_min=240 gpus_per_node=1; the rest is in configs/hydra/launcher/slurm.yaml"
    parser.add_argument("--slurm", nargs="+", default=[], metavar="KEY=VALUE", help=slurm)
    parser.add_argument("--collect", action="store_true", help="judge what is there, from wherever it came; do no run")
    parser.add_argument("--all-claims", action="store_true", help="print every claim at the end, not the first table alone")
    parser.add_argument("--dry-run", action="store_true", help="list every run, its estimated time and whether it is done; do nothing")
    parser.add_argument("--images-per-second", type=speed, metavar="X", help="speed of training, for the hours of tier imagenet")
    arguments = parser.parse_args()
    refuse_idle(arguments)
    arguments.jobs = arguments.jobs or os.cpu_count()
    for name in arguments.only:
        refuse_unknown(name, arguments.tier)
    is_doing = not arguments.collect and not arguments.dry_run
    if arguments.launcher != "cores" and is_doing:
        refuse_cluster(arguments.launcher, arguments.slurm)
    if arguments.launcher != "slurm" and is_doing:  # a cluster's nodes are other machines
        refuse_tier(arguments.tier, arguments.only)
    return arguments


def names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words(text).split(",")))


def refuse_idle(arguments: argparse.Namespace) -> None:
    """Refuse flags that would change nothing beside the others."""
    is_cores = arguments.launcher == "cores"
    for flag, is_given, is_idle, why in (
        ("--images-per-second", arguments.images_per_second, arguments.tier != "imagenet" or not arguments.dry_run,
         "without --tier imagenet --dry-run"),
        ("--slurm", arguments.slurm, is_cores, "without --launcher slurm"),
        ("--jobs", arguments.jobs, not is_cores, f"with --launcher {arguments.launcher}"),
        ("--launcher", not is_cores, arguments.collect, "with --collect, which does no run"),
        ("--jobs", arguments.jobs, arguments.collect, "with --collect, which does no run"),
    ):  # fmt: skip
        if is_given and is_idle:
            raise ValueError(f"{flag} has no effect {why}")


def refuse_cluster(launcher: str, settings: Sequence[str]) -> None:
    """Refuse a cluster where there is none, and what no job can be asked for."""
    if importlib.util.find_spec("submitit") is None:
        raise ValueError(f"--launcher {launcher} needs submitit; pip install 'bn_repro[slurm]' brings it")
    if launcher == "slurm" and not shutil.which("srun"):
        raise ValueError("--launcher slurm: this machine has no srun, so that it is not one of a SLURM cluster")
    given_settings(settings)


def refuse_tier(tier: str, only: Sequence[str]) -> None:
    """Refuse what this machine lacks for a tier, as the first run of each experiment tells."""
    chosen = [name for name in experiments(tier) if {name, name.split("/")[0]} & set(only)]
    is_known = 0 < len(only) == len(chosen)  # else all are asked for, or some are studies or claims
    for config in (config_of(grid(name)[0]) for name in (chosen if is_known else experiments(tier))):
        try:
            refuse_device(config.device)
            check_folder("results_folder", config.results_folder)
            refuse_missing_extra(config)
            refuse_sources(config)
        except ValueError as error:
            raise ValueError(f"tier {tier} cannot run here: {error}") from error


def refuse_unknown(only: str, tier: str) -> None:
    """Refuse what is no study, experiment or claim, before these are loaded, which takes seconds."""
    names = [name.split("/")[0] for name in experiments(tier)]
    studies = [path.stem for path in STUDY_FILES.iterdir() if not path.stem.startswith(("_", "study"))]  # a file or folder a study
    ids = json.loads((CONFIGS.parent / RULES).read_text())
    if only not in {*names, *experiments(tier), *studies, *ids}:
        choices = sorted({*names, *studies})
        about = f"{nearest(only, [*choices, *ids])}; {told(only, choices)}"
        raise ValueError(f"--only {shown(only)}: no such study, experiment or claim in tier {tier}{about}; claims: the ids in {RULES}")
