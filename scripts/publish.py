"""Copy a tier's complete records and their report to results/published: python scripts/publish.py --tier long"""

import argparse
import gzip
import shutil
import sys
from pathlib import Path

from bn_repro.config import TIERS, differences
from bn_repro.launcher.grids import configs_of, experiments
from bn_repro.records import files
from bn_repro.records.files import PUBLISHED, RUNS
from bn_repro.records.record import Run, address_of
from bn_repro.report.claim_table import as_readme_table
from bn_repro.report.page import write_report
from bn_repro.report.report import build_report

README, README_TIER = Path("README.md"), "long"
TABLE_START, TABLE_END = "<!-- claims -->", "<!-- /claims -->"
COPIED = (files.CONFIG, files.ENVIRONMENT, files.ACTIVATIONS, files.CORRECT, files.SUMMARY)  # not weights, not checkpoints


def publish(tier: str) -> int:
    """Publish exactly the runs of the tier's grids; refuse if one is missing, differs from its config, or ran on changed code."""
    folder = PUBLISHED / tier
    configs = [config for name in experiments(tier) for config in configs_of(name)]
    for config in configs:
        run = Run(RUNS / address_of(config))
        different = differences(config, run.config) if run.is_complete else ["it is not complete"]
        if run.is_complete and run.environment["is_modified"]:
            different.append("it was made by code that is not committed")
        if different:
            print(f"error: {run.address} cannot be published: {'; '.join(different)}", file=sys.stderr)
            return 1
    if not configs:
        print(f"error: tier {tier} has no experiments", file=sys.stderr)
        return 2
    unfinished = folder.with_name(f".{tier}")
    shutil.rmtree(unfinished, ignore_errors=True)
    for config in configs:
        source, target = RUNS / address_of(config), unfinished / files.PUBLISHED_RUNS / address_of(config)
        target.mkdir(parents=True)
        for name in COPIED:
            if (source / name).exists():
                shutil.copyfile(source / name, target / name)
        (target / files.PUBLISHED_METRICS).write_bytes(gzip.compress(Run(source).metrics_bytes, mtime=0))
    report = build_report(unfinished / files.PUBLISHED_RUNS, tier, None)
    write_report(report, unfinished)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    if tier == README_TIER:
        text = README.read_text()
        start, end = text.index(TABLE_START) + len(TABLE_START), text.index(TABLE_END)
        files.write_atomically(README, f"{text[:start]}\n{as_readme_table(report)}\n{text[end:]}".encode())
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"published {len(configs)} runs, {size / 1e6:.1f} MB, in {folder}")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--tier", required=True, choices=TIERS)
    sys.exit(publish(parser.parse_args().tier))
