"""When was a claim's rule or measure last changed? A fingerprint of what decides it, kept in git beside the commit that made it."""

import ast
import functools
import hashlib
import inspect
import io
import sys
import textwrap
import tokenize
import types
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from bn_repro.records import files
from bn_repro.records.damage import Damaged
from bn_repro.records.reading import read_rules
from bn_repro.verdicts import censored, judging, rules, statistics
from bn_repro.verdicts.claim import Claim

ENGINE = (rules, statistics, censored, judging)  # what makes a verdict of any claim's numbers
ROOMS = ("bn_repro.measures", "bn_repro.studies", "bn_repro.verdicts")  # whose functions decide
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
VALUES = (bool, int, float, str, tuple, list, dict, frozenset)  # constants of a measure
LENGTH = 16
IGNORED = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}


def fingerprint(claim: Claim) -> str:
    """Return a digest of the arms, the rule, the engine and the measure with all that it calls; words and layout do not count."""
    arms = map(str, (claim.reference, claim.subject, claim.control, claim.control_reference))
    decides = [*arms, repr(claim.rule), *map(code_of, ENGINE), *parts_of(claim.measure, set()), *parts_of(claim.select, set())]
    return hashlib.sha256("\n".join(decides).encode()).hexdigest()[:LENGTH]


def parts_of(function: Any, seen: set[str]) -> Iterator[str]:
    """Yield the code of a function and of all our functions that it reaches, by closure or by name, and the values that it uses."""
    if isinstance(function, functools.partial):
        for value in (function.func, *function.args, *function.keywords.values()):
            yield from parts_of(value, seen) if callable(value) else [repr(value)]
        return
    name = f"{function.__module__}.{function.__qualname__}"
    closure = [cell.cell_contents for cell in function.__closure__ or ()]
    key = name + repr([value for value in closure if not callable(value)])
    if key in seen:
        return
    seen.add(key)
    yield code_of(function)
    globals_used = [function.__globals__[word] for word in names_in(function.__code__) if word in function.__globals__]
    for value in [*closure, *globals_used, *(function.__defaults__ or ())]:
        if isinstance(value, types.FunctionType):
            if value in closure or value.__module__.startswith(ROOMS):
                yield from parts_of(value, seen)
        elif isinstance(value, VALUES):
            yield repr(value)


def names_in(code: types.CodeType) -> list[str]:
    """List the names that a function and those defined in it look up outside of themselves."""
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return [*code.co_names, *(name for one in inner for name in names_in(one))]


@functools.cache
def code_of(what: Any) -> str:
    """Return the source of a function or a module without docstrings, comments and white space."""
    source = textwrap.dedent(inspect.getsource(what))
    lines = source.splitlines(keepends=True)
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:  # a lambda inside of a larger expression: its line says all
        return "".join(source.split())
    for node in nodes:
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            first, last = node.body[0].lineno - 1, node.body[0].end_lineno
            lines[first:last] = [""] * len(lines[first:last])
    tokens = tokenize.generate_tokens(io.StringIO("".join(lines)).readline)
    return "".join(token.string for token in tokens if token.type not in IGNORED).replace(" ", "")


def read_rule_commits(root: Path) -> dict[str, str]:
    """Return the commit that last changed each claim's rule or measure, by the claim's id."""
    try:
        return {id: row["commit"] for id, row in read(root).items()}
    except Damaged as damage:
        print(f"warning: {damage}", file=sys.stderr)
        return {}


def read(root: Path) -> dict[str, dict[str, str]]:
    path = root / files.RULES
    return read_rules(path) if path.exists() else {}


def updated(
    history: dict[str, dict[str, str]], claims: Sequence[Claim], commit: str, means_the_same: bool, but: Collection[str] = ()
) -> dict[str, dict[str, str]]:
    """Return the history with a row for each claim: `commit` where what decides it has changed.

    Args:
        means_the_same: the change is one of form alone, so that commits stay; `but` those of some claims.
    """
    rows = {}
    for claim in claims:
        before, now = history.get(claim.id), fingerprint(claim)
        is_kept = before is not None and (before["fingerprint"] == now or (means_the_same and claim.id not in but))
        rows[claim.id] = {"fingerprint": now, "commit": before["commit"] if before is not None and is_kept else commit}
    return rows
