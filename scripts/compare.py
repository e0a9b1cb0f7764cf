"""Compare any runs: python scripts/compare.py "mnist_sigmoid/quick/*depth=9*" --metric accuracy --figure depth.svg"""

from bn_repro.launcher.signals import leave_on_signals

if __name__ == "__main__":
    leave_on_signals()  # before the imports that take long

from bn_repro.checks.arguments import answer
from bn_repro.comparison.command import act, parse

if __name__ == "__main__":
    answer(parse, act)
