"""What does each change of section 4.2.1 bring: added alone to BN-Baseline, taken back alone from BN-x5?"""

from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure as Drawing

from bn_repro.figures.style import COLOURS, new_figure
from bn_repro.measures.accuracy import accuracy_difference
from bn_repro.records.record import Run
from bn_repro.studies.study import NO_RUNS, Answers, Drawn, Figure, Study
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.judging import paired
from bn_repro.verdicts.numbers import in_words
from bn_repro.verdicts.rules import NOT_RUN, Above
from bn_repro.verdicts.selection import runs_with_overrides
from bn_repro.verdicts.statistics import Mean

EXPERIMENT = "inception_changes"


class Change(NamedTuple):
    """One change of section 4.2.1: the override that makes it on BN-Baseline, and the one that takes it back from BN-x5."""

    words: str
    added: str
    taken_back: str


SHUFFLING = Change("batches drawn anew each epoch", "", "data.is_reshuffled=False")
CHANGES = (
    Change("5 times the learning rate", "train.lr=0.04", "train.lr=0.008"),
    Change("no dropout", "network.drop_rate=0", "network.drop_rate=0.4"),
    Change("a fifth of the L2 coefficient", "train.weight_decay=4e-05", "train.weight_decay=0.0002"),
    Change("a decay 6 times faster", "train.final_lr_ratio=0.015625", "train.final_lr_ratio=0.5"),
    Change("no local response normalization", "network.has_lrn=False", "network.has_lrn=True"),
    SHUFFLING,
    Change("half the photometric distortions", "data.colour_jitter=0.2", "data.colour_jitter=0.4"),
)


def changed(arm: str, *overrides: str) -> str:
    """Write an arm of this study with its overrides, as the runs' names have them."""
    return ",".join([f"{EXPERIMENT}/{arm}", *sorted(filter(None, overrides))])


BASELINE, BN_X5 = changed("bn_baseline", SHUFFLING.taken_back), changed("bn_x5")


def with_added(change: Change) -> str:
    """Name BN-Baseline with one change; its batches are the same in all epochs unless that is the change."""
    return changed("bn_baseline", change.added, "" if change is SHUFFLING else SHUFFLING.taken_back)


def without(change: Change) -> str:
    return changed("bn_x5", change.taken_back)


def shuffling_claim(id: str, says: str, reference: str, subject: str) -> Claim:
    return Claim(
        id=f"change-shuffling-{id}",
        section="4.2.1",
        says=says,
        paper="about 1 %",
        unit="points",
        reference=reference,
        subject=subject,
        select=runs_with_overrides,
        measure=accuracy_difference,
        rule=Above(0, 1),
    )


def gains(root: Path, tier: str) -> list[tuple[str, Mean | None, Mean | None, list[Run]]]:
    """Return for each change its words, what it gains added alone and kept in BN-x5, in points, and the runs that say so."""

    def gain(reference: str, subject: str) -> tuple[Mean | None, list[Run]]:
        pairs = list(paired(*(runs_with_overrides(root, arm, tier) for arm in (reference, subject))).values())
        return (accuracy_difference(pairs) if len(pairs) > 1 else None), [run for pair in pairs for run in pair]

    found = []
    for change in CHANGES:
        added, runs = gain(BASELINE, with_added(change))
        kept, more = gain(without(change), BN_X5)
        found.append((change.words, added, kept, runs + more))
    return found


def draw_gains(root: Path, tier: str) -> Drawn | None:
    """Draw what each change gains, with intervals over seeds and images: added alone, and kept in BN-x5."""
    found = gains(root, tier)
    if not any(added or kept for _, added, kept, _ in found):
        return None
    runs = {run.address: run for *_, of_change in found for run in of_change}
    return Drawn(figure_gains([(words, added, kept) for words, added, kept, _ in found]), list(runs.values()))


def figure_gains(found: list[tuple[str, Mean | None, Mean | None]]) -> Drawing:
    figure, axes = new_figure(2, 9, 0.38 * len(found) + 1.2, sharex=True, sharey=True)
    for number, (axis, title) in enumerate(zip(axes, ("added alone to BN-Baseline", "taken back alone from BN-x5: what is lost"))):
        for place, row in enumerate(found):
            mean = row[1 + number]
            if mean is not None:
                bounds = [[mean.value - mean.low], [mean.high - mean.value]]
                axis.errorbar([mean.value], [place], xerr=bounds, fmt="o", color=COLOURS[number], capsize=3)
        axis.axvline(0, color="#999999", linewidth=0.9)
        axis.set(xlabel="gain in final test accuracy, points")
        axis.set_title(title, fontsize=10, loc="left")
    axes[0].set_yticks(range(len(found)), [words for words, *_ in found])
    axes[0].invert_yaxis()
    return figure


def answer_in_words(answers: Answers) -> str:
    """Say what shuffling gains, the one change of which the paper prints a gain."""
    added, kept = (answers[f"change-{id}"] for id in ("shuffling-added", "shuffling-kept"))
    if NOT_RUN in (added.verdict, kept.verdict):
        return NO_RUNS
    return f"Drawing batches anew each epoch gains {in_words(added)} in BN-Baseline and {in_words(kept)} in BN-x5."


STUDY = Study(
    name="changes",
    title="Section 4.2.1, one change at a time",
    sections="4.2.1",
    question="What does each of the seven changes from BN-Baseline to BN-x5 gain, alone and beside the others?",
    experiments=(EXPERIMENT,),
    claims=(
        shuffling_claim("added", "BN-Baseline: batches drawn anew each epoch gain accuracy", BASELINE, with_added(SHUFFLING)),
        shuffling_claim("kept", "BN-x5: batches drawn anew each epoch gain accuracy", without(SHUFFLING), BN_X5),
    ),
    figures=(
        Figure(
            name="changes",
            title="What each change of section 4.2.1 gains",
            caption="Differences of final test accuracy, means with 95 % intervals over seeds, five and of shuffling ten, and test images. "
            "Left: BN-Baseline with one change against BN-Baseline. Right: BN-x5 against BN-x5 without that change.",
            alt="Two panels with a row per change: a point and its interval, left added alone, right taken back alone.",
            draw=draw_gains,
            experiments=(EXPERIMENT,),
        ),
    ),
    in_words=answer_in_words,
)
