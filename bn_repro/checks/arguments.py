"""How scripts read their arguments: a mistake is answered in one line, with exit code 2, before anything is loaded or written."""

import argparse
import os
import re
import select
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn, TypeVar

from bn_repro.checks.values import check_folder, check_text, check_wandb_name, nearest, shown, told

MISTAKE, FAILURE = 2, 1
READER_GONE = 128 + signal.SIGPIPE  # as a shell has it of a program that the signal ends
JOBS_A_CORE = 4  # more only wait for one another
Request = TypeVar("Request")


class Parser(argparse.ArgumentParser):
    """Read arguments as argparse does, but for abbreviations and flags given twice; a mistake is a ValueError of one line."""

    def __init__(self, **options: Any):
        super().__init__(allow_abbrev=False, **options)

    def parse_args(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:  # type: ignore[override]
        arguments = sys.argv[1:] if arguments is None else arguments
        found, unknown = self.parse_known_intermixed_args(arguments)
        known = [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]
        for word in unknown:
            flag = word.split("=")[0]
            about = nearest(flag, known) if word.startswith("-") else ""
            self.error(
                f"{shown(word)}: there is no such {'flag' if word.startswith('-') else 'argument'}{about}; flags: {', '.join(known)}"
            )
        flags = [argument.split("=")[0] for argument in arguments if argument.startswith("--") and argument != "--"]
        for flag in flags:
            if flags.count(flag) > 1:
                self.error(f"{flag} is given twice")
        return found

    def print_help(self, file: Any = None) -> None:
        print(self.format_help(), end="", file=file)  # argparse's own is silent where it cannot be written

    def error(self, message: str) -> NoReturn:
        raise ValueError(re.sub(r"^argument (\S+): ", r"\1 ", message))


def answer(read: Callable[[], Request], act: Callable[[Request], int]) -> NoReturn:
    """Read what a script is asked for, do it, and end with the exit code that `act` returns.

    A ValueError of `read` is a mistake. An output that cannot be written, as on a full disk, is told in one line too; one whose
    reader has left, as of `| head`, ends the script in silence.
    """
    try:
        code = exit_code_of(read, act)
        if sys.stdout is not None:  # as where it is closed
            sys.stdout.flush()
    except OSError as error:
        code = FAILURE
        if isinstance(error, BrokenPipeError) and is_reader_gone():
            code = READER_GONE
        else:
            print(f"error: {one_line(error)}", file=sys.stderr)
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter tries once more, and complains
    sys.exit(code)


def is_reader_gone() -> bool:
    """Say whether standard output is a pipe that nobody reads."""
    if sys.stdout is None:
        return False
    waiting = select.poll()
    waiting.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in waiting.poll(0))


def exit_code_of(read: Callable[[], Request], act: Callable[[Request], int]) -> int:
    try:
        request = read()
    except ValueError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return MISTAKE
    except SystemExit as stop:  # argparse's, after --help
        return int(stop.code or 0)
    return act(request)


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """Return a type of arguments that are one of the choices."""

    def choice(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"{shown(text)} is not a choice{nearest(text, choices)}; {told(text, choices)}")
        return text

    return choice


def positive(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"{shown(text)} is no whole number from 1 on")
    return int(text)


def num_jobs(text: str) -> int:
    most = JOBS_A_CORE * (os.cpu_count() or 1)
    if positive(text) > most:
        raise argparse.ArgumentTypeError(f"{text} is too many for {os.cpu_count()} cores; give at most {most}")
    return int(text)


def speed(text: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?", text) or not 0 < float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a speed; give a number above 0")
    return float(text)


def checked(check: Callable[[str, str], None], text: str) -> str:
    """Return the text of an argument that passes a knob's check."""
    try:
        check("", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).lstrip("= ")) from error
    return text


words = partial(checked, check_text)
wandb_name = partial(checked, check_wandb_name)
folder = partial(checked, check_folder)
readable_folder = partial(checked, partial(check_folder, is_written=False))
