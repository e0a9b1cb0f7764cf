"""What a report is: the answers of a tier study by study, what is drawn from its records, and the published answers beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bn_repro.records import files
from bn_repro.records.reading import read_claims_or_warn
from bn_repro.records.record import damage_in
from bn_repro.report.exhibit import Exhibit
from bn_repro.studies import STUDIES
from bn_repro.studies.study import Figure, Study
from bn_repro.verdicts.judging import Answer, judge_all
from bn_repro.verdicts.rule_history import read_rule_commits
from bn_repro.verdicts.rules import NOT_RUN

NO_RUNS = "There are no runs of it in this tier."
SOME_RUNS = "Its main runs are missing in this tier; the claims below have theirs."


@dataclass(frozen=True)
class Chapter:
    """A study and what a tier says of it."""

    study: Study
    answers: Sequence[Answer]
    exhibits: Sequence[Exhibit]

    @property
    def in_words(self) -> str:
        """Return the study's answer or, where it has none, why."""
        words = self.study.in_words({answer.id: answer for answer in self.answers})
        return words or (SOME_RUNS if self.answered else NO_RUNS)

    @property
    def answered(self) -> Sequence[Answer]:
        """Return the answers that have runs."""
        return [answer for answer in self.answers if answer.verdict != NOT_RUN]

    @property
    def not_run(self) -> Sequence[Answer]:
        return [answer for answer in self.answers if answer.verdict == NOT_RUN]

    @property
    def is_empty(self) -> bool:
        return not (self.answered or self.exhibits)


@dataclass(frozen=True)
class Report:
    """A tier's answers and figures.

    Args:
        published: the rows of the tier's published `claims.json`, by claim id; none where there is nothing to compare with.
        left_out: what is damaged or missing in the finished runs that the answers do without.
    """

    tier: str
    chapters: Sequence[Chapter]
    published: Mapping[str, dict]
    left_out: Sequence[str]

    @property
    def answers(self) -> Sequence[Answer]:
        return [answer for chapter in self.chapters for answer in chapter.answers]

    @property
    def exhibits(self) -> Sequence[Exhibit]:
        return [exhibit for chapter in self.chapters for exhibit in chapter.exhibits]

    @property
    def machines(self) -> Sequence[str]:
        """Return a line for each kind of machine, with the commits that it ran."""
        commits: dict[str, set[str]] = {}
        for machine, commit in {pair for exhibit in self.exhibits for pair in exhibit.machines}:
            commits.setdefault(machine, set()).add(commit)
        return [f"{machine}; of commits {', '.join(sorted(commits[machine]))}" for machine in sorted(commits)]


def build_report(
    root: Path,
    tier: str,
    published: Path | None,
    studies: Sequence[Study] = STUDIES,
    has_figures: bool = True,
) -> Report:
    """Judge and draw the records of a tier under `root`.

    Args:
        published: the folder of the tier's published report, shown beside; None while that one is being made.
    """
    claims = [claim for study in studies for claim in study.claims]
    answers = {answer.id: answer for answer in judge_all(root, tier, claims, read_rule_commits(files.SHIPPED))}
    beside = read_claims_or_warn(published / files.CLAIMS) if published else {}
    return Report(
        tier,
        [
            Chapter(study, [answers[claim.id] for claim in study.claims], exhibits_of(study, root, tier) if has_figures else ())
            for study in studies
        ],
        beside,
        [str(damage) for damage in damage_in(root, tier)] if has_figures else (),
    )


def exhibits_of(study: Study, root: Path, tier: str) -> Sequence[Exhibit]:
    """Draw what a study has runs for."""
    drawn = [(figure, figure.draw(root, tier)) for figure in study.figures]
    return [Exhibit(figure, shown, command_of(study, figure, tier)) for figure, shown in drawn if shown is not None]


def command_of(study: Study, figure: Figure, tier: str) -> str:
    """Return the command that makes the runs of a figure."""
    (first, *others) = figure.experiments
    only = study.name if others else f"{first}/{tier}" if first == study.name and len(study.experiments) > 1 else first
    return f"./scripts/reproduce.sh --tier {tier} --only {only}"
