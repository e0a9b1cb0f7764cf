"""Does the first table follow the abstract, fit a line a row, and say NOT RUN where no study asks?"""

import pytest

from bn_repro.report.headline import ABSTRACT, headline_rows, place
from bn_repro.report.report import build_report
from bn_repro.studies import CLAIMS
from bn_repro.verdicts.rules import NOT_RUN

MOST_ROWS, MOST_WORDS = 12, 8


def test_rows_follow_the_abstract(report):
    rows = headline_rows(report)
    assert len(rows) <= MOST_ROWS
    places = [place(row.says) for row in rows]
    assert places == sorted(places) and set(places) == set(range(len(ABSTRACT)))
    asked = sorted((claim.headline for claim in CLAIMS if claim.headline), key=place)
    assert [row.says for row in rows if row.answer] == asked


def test_what_no_study_asks_yet_says_so(root):
    rows = headline_rows(build_report(root, "quick", None, (), has_figures=False))
    assert [(row.says, row.verdict, row.here) for row in rows] == [(sentence.words, NOT_RUN, "-") for sentence in ABSTRACT]


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim.headline], ids=lambda claim: claim.id)
def test_a_headline_is_short_and_about_a_sentence_of_the_abstract(claim):
    assert len(claim.headline.split()) <= MOST_WORDS
    assert place(claim.headline) < len(ABSTRACT)


def test_a_headline_about_nothing_is_refused():
    with pytest.raises(ValueError, match="'BN is nice' is about no sentence"):
        place("BN is nice")
