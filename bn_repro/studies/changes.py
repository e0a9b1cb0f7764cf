"""What does each change of section 4.2.1 bring: added alone to BN-Baseline, taken back alone from BN-x5?"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from bn_repro.figures.style import COLOURS, new_figure
from bn_repro.measures.accuracy import accuracy_difference, final_accuracy
from bn_repro.records.record import Run
from bn_repro.studies.study import Answers, Drawn, Figure, Study
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
    """Draw a waterfall from each arm to the other: each change added alone to BN-Baseline, and taken back alone from BN-x5."""
    found = gains(root, tier)
    ends = [[final_accuracy(run) for run in runs_with_overrides(root, arm, tier).values()] for arm in (BASELINE, BN_X5)]
    added = [Bar(f"+ {words}", mean.value, mean.low, mean.high) for words, mean, _, _ in found if mean]
    lost = [Bar(f"without: {words}", -mean.value, -mean.high, -mean.low) for words, _, mean, _ in found if mean]
    if not (added and lost and all(ends)):
        return None
    baseline, bn_x5 = (float(np.mean(accuracies)) for accuracies in ends)
    figure, axes = new_figure(2, 12, 0.38 * len(found) + 1.8, sharex=True)
    draw_waterfall(axes[0], ("BN-Baseline", baseline), added, ("BN-x5", bn_x5))
    draw_waterfall(axes[1], ("BN-x5", bn_x5), lost, ("BN-Baseline", baseline))
    for axis, title in zip(axes, ("added alone to BN-Baseline", "taken back alone from BN-x5")):
        axis.set_title(title, fontsize=10, loc="left")
    return Drawn(figure, list({run.address: run for *_, runs in found for run in runs}.values()))


class Bar(NamedTuple):
    """By how much one change moves the accuracy, in points."""

    words: str
    gain: float
    low: float
    high: float


def draw_waterfall(axis: Axes, start: tuple[str, float], bars: Sequence[Bar], end: tuple[str, float]) -> None:
    """Draw from one accuracy a bar per change, each beginning where the last one ended, then what is left to the other accuracy."""
    reached = start[1]
    for place, bar in enumerate(bars, start=1):
        axis.barh(place, bar.gain, left=reached, height=0.6, color=COLOURS[0] if bar.gain > 0 else COLOURS[1])
        bounds = [[bar.gain - bar.low], [bar.high - bar.gain]]
        axis.errorbar([reached + bar.gain], [place], xerr=bounds, fmt="none", color="#111111", capsize=3, linewidth=1.1)
        reached += bar.gain
        axis.plot([reached, reached], [place, place + 1], color="#999999", linewidth=0.9)
    last = len(bars) + 2
    axis.barh(last - 1, end[1] - reached, left=reached, height=0.6, facecolor="none", edgecolor="#111111", hatch="///")
    axis.plot([start[1], start[1]], [0, 1], color="#999999", linewidth=0.9)
    axis.plot([end[1], end[1]], [last - 1, last], color="#999999", linewidth=0.9)
    axis.plot([start[1], end[1]], [0, last], "D", color="#111111")
    axis.set_yticks(range(last + 1), [start[0], *(bar.words for bar in bars), "what they do not add up to", end[0]])
    axis.set(xlabel="final test accuracy, %")
    axis.invert_yaxis()


def answer_in_words(answers: Answers) -> str:
    """Say what shuffling gains, the one change of which the paper prints a gain."""
    added, kept = (answers[f"change-{id}"] for id in ("shuffling-added", "shuffling-kept"))
    if NOT_RUN in (added.verdict, kept.verdict):
        return ""
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
            caption="Left: from BN-Baseline, what each change gains when it is added alone, bar after bar. Right: from BN-x5, what is "
            "lost when each is taken back alone. Whiskers are 95 % intervals over seeds, five and of shuffling ten, and test images. The "
            "hatched bar is what the seven do not add up to: changes help or hinder one another.",
            alt="Two waterfalls with a bar and its interval per change: left from BN-Baseline to BN-x5, right back.",
            draw=draw_gains,
            experiments=(EXPERIMENT,),
        ),
    ),
    in_words=answer_in_words,
)
