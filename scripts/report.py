"""Judge and draw the runs of a tier on this machine: python scripts/report.py --tier quick"""

import argparse

from rich.console import Console

from bn_repro.config import TIERS
from bn_repro.records.files import PUBLISHED, REPORTS, RUNS
from bn_repro.report.claim_table import as_terminal_table
from bn_repro.report.page import write_report
from bn_repro.report.report import build_report

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--tier", default="quick", choices=TIERS)
    tier = parser.parse_args().tier
    report = build_report(RUNS, tier, PUBLISHED / tier)
    Console().print(as_terminal_table(report))
    print(f"report: {write_report(report, REPORTS / tier)}")
