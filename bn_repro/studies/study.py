"""What a study is: a question, the experiments that answer it, claims, figures, and the answer in words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure as Drawing

from bn_repro.figures.style import Arm
from bn_repro.records.record import Run
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.judging import Answer
from bn_repro.verdicts.selection import runs_of

Rows = tuple[tuple[str, ...], ...]
Answers = Mapping[str, Answer]  # by the claim's id


@dataclass(frozen=True)
class Drawn:
    """A figure or a table as it came out, the runs that it shows, and what its caption says of them."""

    content: Drawing | Rows
    runs: Sequence[Run]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure or table of a study.

    Args:
        name: of its file, without ending.
        alt: what somebody who does not see it should know.
        draw: from (folder of the runs, tier) to what it shows; None where there are no runs.
        experiments: whose runs it shows.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[Path, str], Drawn | None]
    experiments: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Study:
    """One question.

    Args:
        name: of the study, for `--only` and for links.
        sections: of the paper.
        experiments: folders of `configs/experiment` whose runs answer it.
        in_words: from the answers to its claims to two sentences; to none where the runs that they tell of are missing.
    """

    name: str
    title: str
    sections: str
    question: str
    experiments: tuple[str, ...]
    claims: tuple[Claim, ...]
    figures: tuple[Figure, ...]
    in_words: Callable[[Answers], str]


def of_arms(draw: Callable[[Sequence[Arm]], Drawing | Rows], arms: Sequence[tuple[str, str]]) -> Callable[[Path, str], Drawn | None]:
    """Draw arms (label, `<experiment>/<arm>`) that have runs, at the seeds that the first two share; None if not both of these have."""

    def drawn(root: Path, tier: str) -> Drawn | None:
        found = {label: runs_of(root, arm, tier) for label, arm in arms}
        first, second = list(found.values())[:2]
        if not (first and second):
            return None
        shared = set(first) & set(second) or set(first) | set(second)
        shown = {label: [run for seed, run in runs.items() if seed in shared] for label, runs in found.items()}
        shown = {label: runs for label, runs in shown.items() if runs}
        note = "; ".join(f"{label}: n = {len(runs)}" for label, runs in shown.items())
        return Drawn(draw(list(shown.items())), [run for runs in shown.values() for run in runs], f"{note}.")

    return drawn
