"""What the main command prints: verdicts as each study ends, last the first table a line a row, or every claim; runs are made up."""

import sys

import pytest

from bn_repro.checks.arguments import exit_code_of
from bn_repro.launcher import reproduce, reproduce_line
from bn_repro.launcher.child import DONE, FAILED, Outcome
from bn_repro.launcher.grids import experiments
from bn_repro.records.record import address_of
from bn_repro.report import report as report_module
from bn_repro.report.headline import headline_rows
from bn_repro.studies import CLAIMS, STUDIES
from bn_repro.studies.faulty_norm import STUDY as FAULTY_NORM


@pytest.fixture
def command(root, report, tmp_path, monkeypatch, capsys):
    """Run the command where all runs are done already; return its exit code, what it printed, and the configs that it asked for."""
    build = report_module.build_report
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "runs").symlink_to(root)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reproduce, "prepare", lambda configs: None)
    monkeypatch.setattr(report_module, "build_report", lambda *a, **k: build(*a, **k) if "has_figures" in k else report)

    def call(*arguments, kind=DONE):
        asked = []

        def run_many(configs, jobs, console, seconds_of, on_experiment_end):
            asked.extend(configs)
            for experiment in dict.fromkeys(config.experiment for config in configs):
                console.print(f"ended {experiment}")
                on_experiment_end(experiment)
            return [Outcome(address_of(config), kind, "a reason") for config in configs]

        monkeypatch.setattr(reproduce, "run_many", run_many)
        monkeypatch.setattr(sys, "argv", ["reproduce.py", *arguments])
        code = exit_code_of(reproduce_line.parse, reproduce.main)
        return code, capsys.readouterr(), asked

    return call


def test_verdicts_come_as_studies_end_and_last_the_first_table(command, report, tmp_path):
    code, printed, asked = command()
    lines = printed.out.splitlines()
    assert code == 0 and {config.experiment for config in asked} == {name.split("/")[0] for name in experiments("quick")}
    rows = headline_rows(report)
    table = lines[-1 - len(rows) : -1]
    assert all(line.startswith(row.verdict) and row.says in line and row.here in line for line, row in zip(table, rows)), printed.out
    assert lines[-1] == "report: results/report/quick/report.html" and (tmp_path / "results/report/quick/report.html").exists()
    for study in STUDIES:
        ends = [lines.index(f"ended {name}") for name in study.experiments if f"ended {name}" in lines]
        said = [place for place, line in enumerate(lines) if line.startswith(f"{study.title}: ")]
        assert all(place > max(ends) for place in said)
    assert any(line.startswith("Inception with and without BN: ") for line in lines)


def test_all_claims_are_a_line_or_two_each(command, report):
    code, printed, _ = command("--all-claims", "--only", "faulty_norm")
    shown = printed.out.split("ended faulty_norm")[1]
    assert code == 0 and all(answer.verdict in shown for answer in report.answers)
    assert len(shown.splitlines()) < 3 * len(CLAIMS)


def test_one_claim_alone_is_shown(command):
    code, printed, asked = command("--only", "sec2-loss")
    assert code == 0 and {config.experiment for config in asked} == {"faulty_norm"}
    assert printed.out.count("while the loss stands still") == 1
    last = printed.out.split("REPRODUCED")[-1]
    assert "while the loss stands still" in last and "report: " in last and "BN-x5" not in printed.out


def test_a_tier_that_is_done_is_told_in_a_few_lines(command, report, monkeypatch):
    monkeypatch.setattr(reproduce, "state_of", lambda config: DONE)
    code, printed, asked = command()
    assert code == 0 and asked == [] and len(printed.out.splitlines()) <= len(headline_rows(report)) + 4
    assert " are done) of " in printed.out and printed.out.splitlines()[-1] == "report: results/report/quick/report.html"


def test_studies_of_which_nothing_was_to_do_are_not_told_again(command, monkeypatch):
    monkeypatch.setattr(reproduce, "state_of", lambda config: "to do" if config.experiment == "faulty_norm" else DONE)
    _, printed, _ = command()
    assert [study.title for study in STUDIES if f"\n{study.title}: " in printed.out] == [FAULTY_NORM.title]


def test_failures_are_told_and_counted(command):
    code, printed, _ = command("--only", "sec2-loss", kind=FAILED)
    assert code == 1 and "failed: faulty_norm/quick/" in printed.err and "a reason" in printed.err


def test_a_mistake_is_one_line_and_code_2(command):
    code, printed, asked = command("--only", "sec2-los")
    assert (code, asked, printed.out) == (2, [], "") and printed.err.startswith("error: --only sec2-los: ")
    assert "did you mean sec2-loss?" in printed.err and len(printed.err.splitlines()) == 1
