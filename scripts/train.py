"""Train one run, or with -m a grid: python scripts/train.py experiment=mnist_sigmoid/quick norm=batch seed=0"""

import sys

from bn_repro.launcher.signals import leave_on_signals

if __name__ == "__main__":
    leave_on_signals()  # before the imports that take long

from bn_repro.checks.arguments import answer
from bn_repro.launcher.command_line import Request, read
from bn_repro.launcher.machine import refuse_launcher, refuse_what_is_missing


def parse() -> Request | str:
    """Return the runs that the command line asks for, or the text, such as the help."""
    request = read(sys.argv[1:], refuse_what_is_missing)
    refuse_launcher(request.launcher)
    if not request.shows:
        return request

    from bn_repro.launcher.help import text_of

    return text_of(request)


def act(asked: Request | str) -> int:
    if isinstance(asked, str):
        print(asked)
        return 0

    from bn_repro.launcher.sweep import do_runs

    return do_runs(asked)


if __name__ == "__main__":
    answer(parse, act)
