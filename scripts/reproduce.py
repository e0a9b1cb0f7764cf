"""Do every run of a tier, skip what is done, and print the verdicts: ./scripts/reproduce.sh --tier quick"""

from bn_repro.launcher.signals import leave_on_signals

if __name__ == "__main__":
    leave_on_signals()  # before the imports that take long

from bn_repro.checks.arguments import answer
from bn_repro.launcher.reproduce import main
from bn_repro.launcher.reproduce_line import parse

if __name__ == "__main__":
    answer(parse, main)
