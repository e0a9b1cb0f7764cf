"""What a report says about itself in sentences: how to read it, how many claims may be false, what the controls said."""

from collections.abc import Sequence

from bn_repro.report.agreement import agreement
from bn_repro.report.claim_table import looked
from bn_repro.report.report import Report
from bn_repro.studies.study import Study
from bn_repro.verdicts.judging import Answer, controls_reproduced, false_expected
from bn_repro.verdicts.numbers import number
from bn_repro.verdicts.rules import REPRODUCED

HOW_TO_READ = (
    "REPRODUCED: the effect is there; the size claimed, or more, is not excluded, and the estimate is at least halfway to it, of ratios "
    "on a logarithmic scale. PARTLY: it is there, but smaller. NOT REPRODUCED: the size is excluded and no effect is not, or the "
    "reverse is there. INCONCLUSIVE: neither is excluded, or there are fewer than five seeds. Claims of nothing, or of no difference, "
    "hold below a bound, PARTLY below a looser one. The size is the paper's number or, where it prints none, the least that would "
    "matter, set before the runs where the row does not say otherwise; the last section lists all rules. Limits of rates lie between "
    "points of a grid, so that a lower limit of 1 means more than 1. x: how many times more or less, as the claim says, 1 x being no "
    "effect; points: percentage points of accuracy. n is the number of seeds; q is the false discovery rate among all claims of this "
    "tier. The control judges the same claim on runs that lack what it is about, such as networks without BN in place of BN."
)


def about(report: Report) -> list[str]:
    """Return what is said once of the whole report."""
    says = (
        HOW_TO_READ, false_discoveries(report.answers), controls(report.answers),
        agreement(report.answers, report.published), left_out(report.left_out),
    )  # fmt: skip
    return [sentence for sentence in says if sentence]


def false_discoveries(answers: Sequence[Answer]) -> str:
    """Say how many of the claims called REPRODUCED may be false."""
    num_found = sum(answer.verdict == REPRODUCED for answer in answers)
    if num_found == 0:
        return "No claim is called REPRODUCED."
    return f"Of {num_found} claims called REPRODUCED, at most {number(false_expected(answers))} are false on average."


def controls(answers: Sequence[Answer]) -> str:
    """Say how many negative controls reproduce their claim all the same."""
    num_reproduced, num_controls, allowed = controls_reproduced(answers)
    if num_controls == 0:
        return "No negative control has runs."
    says = "says" if num_reproduced == 1 else "say"
    return f"{num_reproduced} of {num_controls} negative controls {says} REPRODUCED; chance allows {number(allowed)} on average."


def sections(study: Study) -> str:
    """Name the sections of the paper that a study is about, or the other paper."""
    if not study.sections[0].isdigit():
        return study.sections
    return f"{'Sections' if ',' in study.sections else 'Section'} {study.sections}"


def evidence(answer: Answer) -> str:
    """Say by which rule a claim is judged, and of when."""
    commit = f"; last changed in commit {answer.rule_commit[:12]}" if answer.rule_commit else ""
    return f"{answer.rule}{commit}" + (f"; {looked(answer)}" if answer.after_look else "")


def left_out(damages: Sequence[str]) -> str:
    """Name the finished runs that the answers do without; empty if there are none."""
    return f"Left out, since a file is not what was written: {'; '.join(f'`{damage}`' for damage in damages)}." if damages else ""
