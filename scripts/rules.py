"""Write down at which commit each claim's rule was last changed: python scripts/rules.py [--means-the-same [--but CLAIM ...]]"""

import argparse
import subprocess
import sys
from pathlib import Path

from bn_repro.checks.arguments import Parser, answer
from bn_repro.records import files

ROOT = Path(__file__).parent.parent


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def parse() -> argparse.Namespace:
    description = "Write down at which commit each claim's rule was last changed. Commit the rules first, then this file, then run."
    parser = Parser(description=description)
    parser.add_argument("--means-the-same", action="store_true", help="the code changed in form alone; commits stay")
    parser.add_argument("--but", nargs="+", default=[], metavar="CLAIM", help="claims of which --means-the-same is not true")
    return parser.parse_args()


def main(arguments: argparse.Namespace) -> int:
    from bn_repro.studies import CLAIMS
    from bn_repro.verdicts.rule_history import read, updated

    if git("status", "--porcelain", "--untracked-files=no", "bn_repro"):
        print("error: bn_repro/ has changes that are not committed; commit the rules first", file=sys.stderr)
        return 2
    unknown = set(arguments.but) - {claim.id for claim in CLAIMS}
    if unknown or (arguments.but and not arguments.means_the_same):
        print(
            f"error: --but {min(unknown)}: there is no such claim" if unknown else "error: --but goes with --means-the-same",
            file=sys.stderr,
        )
        return 2
    before = read(ROOT)
    after = updated(before, CLAIMS, git("rev-parse", "HEAD"), arguments.means_the_same, arguments.but)
    files.write_atomically(ROOT / files.RULES, files.as_json(after))
    changed = sum(before.get(id) != row for id, row in after.items())
    print(f"{changed} of {len(after)} rules changed, in {files.RULES}")
    return 0


if __name__ == "__main__":
    answer(parse, main)
