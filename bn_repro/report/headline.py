"""The first table: a row or two for each sentence of the abstract, in its order."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bn_repro.report.claim_table import here
from bn_repro.report.report import Report
from bn_repro.studies.study import Study
from bn_repro.verdicts.judging import Answer
from bn_repro.verdicts.rules import NOT_RUN


@dataclass(frozen=True)
class Sentence:
    """One statement of the abstract.

    Args:
        words: what a row says if no study asks it yet.
        pattern: what the headline of a claim about it says, in lower case.
        paper: what the paper says, in the words of the table.
    """

    words: str
    pattern: str
    paper: str


ABSTRACT = (
    Sentence("BN needs fewer steps", "fewer steps", "14 x fewer"),
    Sentence("BN allows higher learning rates", "learning rate", "higher"),
    Sentence("BN needs less care with initialization", "initializ", "less care"),
    Sentence("Saturating nonlinearities train with BN", "saturating", "become trainable"),
    Sentence("BN ends with better accuracy", "accuracy", "better"),
    Sentence("With BN no dropout is needed", "dropout", "in some cases none"),
    Sentence("BN reduces covariate shift, by distributions", "stead|distribution", "reduced"),
    Sentence("BN reduces covariate shift, by gradients", "gradient", "reduced"),
    Sentence("At inference BN is a fixed affine map", "inference|affine", "exact"),
)


@dataclass(frozen=True)
class Row:
    """One row of the first table.

    Args:
        paper: what the paper says, up to its first semicolon.
        answer, study: None where no study asks it yet.
    """

    says: str
    paper: str
    answer: Answer | None = None
    study: Study | None = None

    @property
    def here(self) -> str:
        """Write the estimate with interval, unit and number of seeds."""
        return "-" if self.answer is None or self.verdict == NOT_RUN else f"{here(self.answer)}, n = {self.answer.n}"

    @property
    def verdict(self) -> str:
        return self.answer.verdict if self.answer else NOT_RUN


def headline_rows(report: Report) -> Sequence[Row]:
    """Return the rows in the abstract's order; a sentence that no claim's headline is about says NOT RUN."""
    asked: list[list[Row]] = [[] for _ in ABSTRACT]
    for chapter in report.chapters:
        for claim, answer in zip(chapter.study.claims, chapter.answers):
            if claim.headline:
                asked[place(claim.headline)].append(Row(claim.headline, answer.paper.split(";")[0], answer, chapter.study))
    return [row for sentence, rows in zip(ABSTRACT, asked) for row in rows or [Row(sentence.words, sentence.paper)]]


def place(headline: str) -> int:
    """Return which sentence of the abstract a headline is about.

    Raises:
        ValueError: none.
    """
    for number, sentence in enumerate(ABSTRACT):
        if re.search(sentence.pattern, headline.lower()):
            return number
    raise ValueError(f"the headline '{headline}' is about no sentence of the abstract; its words are in {__name__}.ABSTRACT")
