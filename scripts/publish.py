"""Pack a tier's complete records and their report into results/published: python scripts/publish.py --tier long [--unpack FOLDER]"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bn_repro.launcher.signals import leave_on_signals

if __name__ == "__main__":
    leave_on_signals()  # before the imports that take long

from bn_repro.checks.arguments import Parser, answer, folder, one_of
from bn_repro.checks.values import nearest, shown, told
from bn_repro.config import TIERS, Config, differences
from bn_repro.launcher.grids import arm_of, configs_of, experiments
from bn_repro.records import archive, files
from bn_repro.records.damage import Damaged, read_whole
from bn_repro.records.files import PUBLISHED, RUNS
from bn_repro.records.record import Run, address_of, archive_of, experiments_in, find_run
from bn_repro.records.thinning import published_files

README, README_TIER = Path("README.md"), "long"
MOST_NAMED = 5


def publish(tier: str, left_out: Sequence[str] = ()) -> int:
    """Publish exactly the runs of the tier's grids; refuse if one is missing, differs from its config, or ran on changed code.

    A run that this machine has not made stays as it is published already, so that experiments can come from several machines.

    Args:
        left_out: experiments, or arms `<experiment>/<arm>`, whose runs are still to be made; their claims say NOT RUN.
    """
    from bn_repro.report.first_page import with_results
    from bn_repro.report.page import write_report
    from bn_repro.report.report import build_report

    folder = PUBLISHED / tier
    names = {name.split("/")[0]: name for name in experiments(tier)}
    configs = [config for experiment, name in names.items() if experiment not in left_out for config in configs_of(name)]
    configs = [config for config in configs if arm_of(config) not in left_out]
    if not configs:
        print(f"error: tier {tier} has no experiments", file=sys.stderr)
        return 2
    refused = [f"{address_of(config)}: {reason}" for config in configs if (reason := unfit(config))]
    if refused:
        more = f"; and {len(refused) - MOST_NAMED} more" if len(refused) > MOST_NAMED else ""
        said = f"{len(refused)} of {len(configs)} runs cannot be published: {'; '.join(refused[:MOST_NAMED])}{more}"
        print(f"error: {said}", file=sys.stderr)
        return 1
    unfinished = folder.with_name(f".{tier}")
    shutil.rmtree(unfinished, ignore_errors=True)
    for experiment in dict.fromkeys(config.experiment for config in configs):
        runs = [run_of(config) for config in configs if config.experiment == experiment]
        content = {f"{run.address}/{name}": bytes_ for run in runs for name, bytes_ in published_files(run.folder).items()}
        files.write_atomically(archive_of(unfinished / files.PUBLISHED_RUNS, experiment), archive.archived(content))
    report = build_report(unfinished / files.PUBLISHED_RUNS, tier, None)
    write_report(report, unfinished)
    readme = with_results(README.read_text(), report, (folder / files.REPORT_TEXT).as_posix()) if tier == README_TIER else None
    outgoing = folder.with_name(f".{tier}.old")
    shutil.rmtree(outgoing, ignore_errors=True)
    if folder.exists():
        folder.rename(outgoing)
    unfinished.rename(folder)
    shutil.rmtree(outgoing, ignore_errors=True)
    if readme is not None:
        files.write_atomically(README, readme.encode())
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"published {len(configs)} runs, {size / 1e6:.1f} MB, in {folder}")
    return 0


def redraw(tier: str) -> int:
    """Make a tier's published report anew from its published runs, after a change of the report alone."""
    from bn_repro.report.first_page import with_results
    from bn_repro.report.page import write_report
    from bn_repro.report.report import build_report

    folder = PUBLISHED / tier
    if not (folder / files.PUBLISHED_RUNS).exists():
        print(f"error: tier {tier} is not published", file=sys.stderr)
        return 2
    report = build_report(folder / files.PUBLISHED_RUNS, tier, None)
    shutil.rmtree(folder / files.FIGURES, ignore_errors=True)
    print(f"report: {write_report(report, folder)}")
    if tier == README_TIER:
        files.write_atomically(README, with_results(README.read_text(), report, (folder / files.REPORT_TEXT).as_posix()).encode())
    return 0


def run_of(config: Config) -> Run:
    """Return this machine's run of a config, or else the published one."""
    own = Run(RUNS / address_of(config))
    return own if own.has_summary else find_run(PUBLISHED / config.tier / files.PUBLISHED_RUNS, address_of(config))


def unfit(config: Config) -> str:
    """Say why the run of a config is not to be published; empty if it is."""
    run = run_of(config)
    if not run.has_summary:
        return "not complete"
    if run.damage:
        return str(run.damage)
    different = differences(config, run.config)
    if run.environment["is_modified"]:
        different.append("made by code that is not committed")
    return ", ".join(different)


def unpack(tier: str, folder: Path) -> int:
    """Write the published run folders of a tier; refuse to change what is there already."""
    root = PUBLISHED / tier / files.PUBLISHED_RUNS
    try:
        packed_away = [path for experiment in experiments_in(root, tier) for path in archive.files_in(archive_of(root, experiment))]
        contents = {folder.joinpath(*path.parts[-archive.DEPTH :]): archive.read(path) for path in packed_away}
        others = [target for target, content in contents.items() if target.exists() and read_whole(target) != content]
    except Damaged as damage:
        print(f"error: {damage}", file=sys.stderr)
        return 1
    if others:
        print(f"error: {others[0]} is there already, with other content; give another folder", file=sys.stderr)
        return 1
    for target, content in contents.items():
        files.write_atomically(target, content)
    print(f"unpacked {len({target.parent for target in contents})} runs in {folder}")
    return 0


def parse() -> argparse.Namespace:
    """Read the command line.

    Raises:
        ValueError: one line that names the mistake.
    """
    parser = Parser(description="Pack a tier's complete records and their report into results/published.")
    parser.add_argument("--tier", required=True, type=one_of(TIERS), help=", ".join(TIERS))
    help_text = "write the published run folders there instead, as training wrote them but for weights (default: results/unpacked)"
    parser.add_argument("--unpack", type=folder, nargs="?", const=str(files.UNPACKED), metavar="FOLDER", help=help_text)
    without = "experiments, or arms as EXPERIMENT/ARM, to leave out, since their runs are still to be made"
    parser.add_argument("--without", nargs="+", default=[], metavar="EXPERIMENT", help=without)
    parser.add_argument("--redraw", action="store_true", help="make the published report anew from the published runs instead")
    arguments = parser.parse_args()
    if bool(arguments.unpack) + bool(arguments.without) + arguments.redraw > 1:
        raise ValueError("give one of --unpack, --without and --redraw")
    names = [name.split("/")[0] for name in experiments(arguments.tier)]
    for name in arguments.without:
        experiment, slash, _ = name.partition("/")
        if experiment not in names:
            raise ValueError(f"--without {shown(name)}: no such experiment{nearest(name, names)}; {told(name, names)}")
        arms = sorted({arm_of(config) for config in configs_of(f"{experiment}/{arguments.tier}")}) if slash else []
        if slash and name not in arms:
            raise ValueError(f"--without {shown(name)}: no such arm{nearest(name, arms)}; {told(name, arms)}")
    return arguments


def main(arguments: argparse.Namespace) -> int:
    if arguments.unpack:
        return unpack(arguments.tier, Path(arguments.unpack))
    return redraw(arguments.tier) if arguments.redraw else publish(arguments.tier, arguments.without)


if __name__ == "__main__":
    answer(parse, main)
