"""A fingerprint changes with what decides a claim, and with nothing else; published runs are younger than their rules."""

import dataclasses
import functools
import subprocess

import pytest

from bn_repro.launcher.grids import CONFIGS
from bn_repro.measures.contrasts import difference, over_subjects
from bn_repro.studies import CLAIMS
from bn_repro.verdicts import censored, rules, statistics
from bn_repro.verdicts.rule_history import code_of, fingerprint, read, updated
from bn_repro.verdicts.rules import Above

ROOT = CONFIGS.parent
CLAIM = CLAIMS[0]
FACTOR = 2


def accuracy(run):
    """Say one thing."""
    return FACTOR * run["accuracy"]


TABLE = {"accuracy": 2}


def from_a_table(run):
    return [factor * run[name] for name, factor in TABLE.items()]


def times(factor):
    return lambda run: factor * run["accuracy"]


def scaled(factor, run):
    return factor * run["accuracy"]


def measured(measure):
    return fingerprint(dataclasses.replace(CLAIM, measure=measure))


def test_words_do_not_count():
    assert fingerprint(dataclasses.replace(CLAIM, says="else", paper="else", headline="else", group="else")) == fingerprint(CLAIM)


@pytest.mark.parametrize("change", [{"rule": Above(0.9, 2)}, {"subject": "a/b"}, {"control": None}, {"measure": difference(accuracy)}])
def test_what_decides_counts(change):
    assert fingerprint(dataclasses.replace(CLAIM, **change)) != fingerprint(CLAIM)


def test_the_engine_counts(monkeypatch):
    before = fingerprint(CLAIM)
    monkeypatch.setattr("bn_repro.verdicts.rule_history.ENGINE", (rules, statistics, censored))
    assert fingerprint(CLAIM) != before
    code = code_of(rules)
    assert "def verdict" not in code and "defverdict" in code and '"""' not in code and "#" not in code


def test_functions_and_values_that_a_measure_reaches_count(monkeypatch):
    before = measured(from_a_table)
    assert measured(over_subjects(accuracy)) == measured(over_subjects(accuracy)) != measured(difference(accuracy))
    assert measured(over_subjects(times(2))) != measured(over_subjects(times(3)))
    assert measured(from_a_table) == before != measured(over_subjects(accuracy))
    monkeypatch.setitem(TABLE, "accuracy", 3)
    assert measured(from_a_table) != before


def test_arguments_that_a_measure_holds_count():
    partial = functools.partial
    assert measured(partial(scaled, 2)) == measured(partial(scaled, 2)) != measured(partial(scaled, 3))
    assert measured(partial(scaled, times(2))) == measured(partial(scaled, times(2))) != measured(partial(scaled, times(3)))


def test_docstrings_comments_and_layout_do_not_count(tmp_path):
    namespaces = []
    for number, text in enumerate(('"""One."""\n    return  run + 1  # so', "return run + 1")):
        path = tmp_path / f"made_up_{number}.py"
        path.write_text(f"def f(run):\n    {text}\n")
        namespaces.append({"__name__": "made_up"})
        exec(compile(path.read_text(), str(path), "exec"), namespaces[-1])
    assert code_of(namespaces[0]["f"]) == code_of(namespaces[1]["f"]) == "deff(run):returnrun+1"


def test_a_changed_rule_gets_the_new_commit_and_one_of_form_alone_keeps_its_own():
    history = updated({}, [CLAIM], "first", means_the_same=False)
    assert updated(history, [CLAIM], "second", means_the_same=False) == history
    changed = dataclasses.replace(CLAIM, rule=Above(0.9, 2))
    assert updated(history, [changed], "second", means_the_same=False)[CLAIM.id]["commit"] == "second"
    kept = updated(history, [changed], "second", means_the_same=True)[CLAIM.id]
    assert kept["commit"] == "first" and kept["fingerprint"] == fingerprint(changed)
    assert updated(history, [changed], "second", means_the_same=True, but=[CLAIM.id])[CLAIM.id]["commit"] == "second"


def test_every_rule_is_written_down_as_it_is():
    history = read(ROOT)
    wrong = [claim.id for claim in CLAIMS if history.get(claim.id, {}).get("fingerprint") != fingerprint(claim)]
    assert wrong == [], "commit the rules, then run scripts/rules.py"


def test_the_commits_of_rules_are_in_the_history():
    """All that a clone without its whole history can check is that it is not whole."""
    if subprocess.run(["git", "rev-parse", "--is-shallow-repository"], cwd=ROOT, capture_output=True, text=True).stdout.strip() != "false":
        pytest.skip("no whole history here")
    for commit in {row["commit"] for row in read(ROOT).values()}:
        assert subprocess.run(["git", "merge-base", "--is-ancestor", commit, "HEAD"], cwd=ROOT).returncode == 0, commit
