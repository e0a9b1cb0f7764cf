"""What our code costs beside the plainest code that does the same, as interleaved ratios: python scripts/benchmark.py"""

import argparse

from bn_repro.launcher.signals import leave_on_signals

if __name__ == "__main__":
    leave_on_signals()  # before the imports that take long

from bn_repro.checks.arguments import Parser, answer, one_of, positive

SUBJECTS = ("sigmoid_mlp", "inception", "norms", "evolution", "logging", "gpu", "mistake")


def parse() -> argparse.Namespace:
    parser = Parser(description="Measure what our code costs beside the plainest code that does the same.")
    parser.add_argument("--rounds", type=positive, default=15, metavar="N", help="of each comparison (default: 15)")
    parser.add_argument("--only", type=one_of(SUBJECTS), help=f"one subject instead of all: {', '.join(SUBJECTS)}")
    return parser.parse_args()


def main(arguments: argparse.Namespace) -> int:
    from bn_repro.benchmarks.tables import measure

    measure([arguments.only] if arguments.only else SUBJECTS, arguments.rounds)
    return 0


if __name__ == "__main__":
    answer(parse, main)
