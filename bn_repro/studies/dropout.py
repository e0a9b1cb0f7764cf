"""Is dropout needed with BN, and does BN do what dropout did? (abstract, section 3.4)"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.ticker import PercentFormatter

from bn_repro.figures.style import draw_over_seeds, new_figure
from bn_repro.measures.accuracy import CHANCE, accuracy_difference, final_accuracy, reached_infinity, variance_of_images
from bn_repro.measures.contrasts import Pairs
from bn_repro.records.record import Run
from bn_repro.studies.learning_rates import at_best_lr
from bn_repro.studies.study import Answers, Drawn, Figure, Study
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.numbers import in_words
from bn_repro.verdicts.rules import NOT_RUN, Above, Below
from bn_repro.verdicts.selection import NAME, Map, complete_by_seed, named_runs
from bn_repro.verdicts.statistics import Mean

TRIAL_NAME = re.compile(rf"{NAME.pattern},network\.drop_rate=(?P<drop_rate>[^,]+),train\.lr=(?P<lr>[^,]+)")
NETWORKS = (("sigmoid network, section 4.1", "dropout"), ("small Inception, section 4.2", "dropout_inception"))
NORMS = (("without BN", "none"), ("with BN", "batch"))
GROUP = "{}, each arm at its best rates"
NONE = "dropout/none"
RATE_ADDED = "Both arms were best at the higher of two learning rates, 0.3 and 1; 3 was added for both. Tier long before: "
AFTER_LOOK = {
    "dropout-bn-mlp": f"{RATE_ADDED}PARTLY, 0.118 [-0.0899, 0.326] points.",
    "dropout-none-mlp": f"{RATE_ADDED}INCONCLUSIVE, 0.129 [-0.0553, 0.313] points.",
    "dropout-instead-mlp": f"{RATE_ADDED}REPRODUCED, -0.096 [-0.323, 0.131] points.",
    "dropout-gap-mlp": f"{RATE_ADDED}REPRODUCED, 0.357 [0.00477, 0.709] points.",
}
MapPairs = Sequence[tuple[Map, Map]]  # of one seed: (reference, subject), each by dropout and learning rate


def trials_of(is_dropped: bool | None, root: Path, arm: str, tier: str) -> dict[int, Map]:
    """Return by seed an arm's runs with dropout, without, or (None) both, by (dropout, learning rate); of seeds that have all of them."""
    named = named_runs(root, arm, tier, TRIAL_NAME)
    asked = [found for found in named if is_dropped in (None, float(found[0]["drop_rate"]) > 0)]
    return complete_by_seed(asked, lambda name: (float(name["drop_rate"]), float(name["lr"])))


def at_best(trials: Sequence[Map], is_dropped: bool) -> list[Run]:
    """Return each seed's run with dropout, or without, at the rates that are best for the other seeds."""
    return at_best_lr([{point: run for point, run in found.items() if bool(point[0]) == is_dropped} for found in trials])


def gained_by_dropout(pairs: MapPairs) -> Mean:
    """Return how much more accurate the subject is with dropout than without, in percentage points."""
    subjects = [subject for _, subject in pairs]
    return accuracy_difference(list(zip(at_best(subjects, False), at_best(subjects, True))))


def lead_of_dropout(pairs: MapPairs) -> Mean:
    """Return how much more accurate the reference is with dropout than the subject without, in percentage points."""
    references, subjects = zip(*pairs)
    return accuracy_difference(list(zip(at_best(subjects, False), at_best(references, True))))


def narrower_gap(pairs: MapPairs) -> Mean:
    """Return by how many percentage points the subject's gap between training and test accuracy is narrower, both without dropout."""
    references, subjects = zip(*pairs)
    runs = list(zip(at_best(references, False), at_best(subjects, False)))
    variance = variance_of_images(runs) + variance_of_training_images(runs)
    return Mean([gap(reference) - gap(subject) for reference, subject in runs], variance_besides=variance)


def variance_of_training_images(pairs: Pairs) -> float:
    """Return the most that `variance_of_images` can be of the training images that are looked at, since no record says which are right."""
    wrong = [2 - (training_accuracy(reference) + training_accuracy(subject)) / 100 for reference, subject in pairs]
    return 1e4 * min(float(np.mean(wrong)), 1.0) / pairs[0][0].config["data.evaluate_training"]


def gap(run: Run) -> float:
    """Return by how many percentage points the accuracy on training images is above that on test images."""
    return training_accuracy(run) - final_accuracy(run)


def training_accuracy(run: Run) -> float:
    """Return the accuracy on the first training images, in percent; chance if it diverged."""
    return 100 * (CHANCE if reached_infinity(run) else run.summary["training_accuracy"])


def claims_of(suffix: str, network: str, experiment: str, bounds: tuple[float, float], headline: str = "") -> tuple[Claim, ...]:
    """List what is asked of one network; the paper prints no sizes.

    Args:
        bounds: what counts as no difference of accuracies, and as a small one, in percentage points.
    """
    none, batch = f"{experiment}/none", f"{experiment}/batch"
    both, group = partial(trials_of, None), GROUP.format(network)
    return (
        Claim(
            id=f"dropout-bn-{suffix}",
            section="3.4",
            group=group,
            says="with BN, dropout gains nothing",
            paper="can be removed",
            unit="points",
            reference=batch,
            subject=batch,
            select=both,
            measure=gained_by_dropout,
            rule=Below(*bounds),
            headline=headline,
            after_look=AFTER_LOOK.get(f"dropout-bn-{suffix}", ""),
        ),
        Claim(
            id=f"dropout-none-{suffix}",
            section="3.4",
            group=group,
            says="without BN, dropout gains accuracy",
            paper="reduces overfitting",
            unit="points",
            reference=none,
            subject=none,
            select=both,
            measure=gained_by_dropout,
            rule=Above(0, bounds[0]),
            after_look=AFTER_LOOK.get(f"dropout-none-{suffix}", ""),
        ),
        Claim(
            id=f"dropout-instead-{suffix}",
            section="3.4",
            group=group,
            says="dropout without BN is not above BN without dropout",
            paper="fulfils some of its goals",
            unit="points",
            reference=none,
            subject=batch,
            select=both,
            measure=lead_of_dropout,
            rule=Below(*bounds),
            after_look=AFTER_LOOK.get(f"dropout-instead-{suffix}", ""),
        ),
    )


def draw_dropout(root: Path, tier: str) -> Drawn | None:
    """Draw test and training accuracy against dropout, a panel per network, each seed at the learning rate that the others prefer."""
    panels, runs, notes = [], [], []
    for network, experiment in NETWORKS:
        curves = {label: list(trials_of(None, root, f"{experiment}/{norm}", tier).values()) for label, norm in NORMS}
        if all(curves.values()):
            notes.append(f"{network}: n = {min(map(len, curves.values()))}")
            panels.append((network, {label: by_drop_rate(trials) for label, trials in curves.items()}))
            runs += [run for trials in curves.values() for found in trials for run in found.values()]
    if not panels:
        return None
    figure, axes = new_figure(len(panels), 4.6 * len(panels), 3.4)
    for axis, (network, at_drop_rates) in zip(axes, panels):
        for label, chosen in at_drop_rates.items():
            drop_rates = np.array(list(chosen))
            draw_over_seeds(axis, label, drop_rates, over_seeds(chosen, final_accuracy))
            of_training = over_seeds(chosen, training_accuracy).mean(axis=0)
            axis.plot(drop_rates, of_training, ":", color=axis.lines[-1].get_color(), label=f"{label}, training images")
        axis.set(xlabel="dropout", xticks=list(drop_rates))
        axis.set_title(network, fontsize=10, loc="left")
        axis.yaxis.set_major_formatter(PercentFormatter(100, decimals=1))
    axes[0].set_ylabel("accuracy")
    axes[-1].legend(fontsize=8)
    return Drawn(figure, runs, f"{'; '.join(notes)}.")


def over_seeds(chosen: dict[float, list[Run]], measure: Callable[[Run], float]) -> np.ndarray:
    """Return (seeds, dropouts)."""
    return np.array([list(map(measure, runs)) for runs in chosen.values()]).T


def by_drop_rate(trials: Sequence[Map]) -> dict[float, list[Run]]:
    """Return at each dropout each seed's run at the learning rate that is best for the other seeds."""
    drop_rates = sorted({drop_rate for drop_rate, _ in trials[0]})
    return {
        drop_rate: at_best_lr([{point: run for point, run in found.items() if point[0] == drop_rate} for found in trials])
        for drop_rate in drop_rates
    }


def answer_in_words(answers: Answers) -> str:
    """Say what dropout gains with BN and without, in each network that has runs."""
    said = [
        f"In {network} dropout gains {in_words(answers[f'dropout-bn-{suffix}'])} with BN and "
        f"{in_words(answers[f'dropout-none-{suffix}'])} without."
        for suffix, network in (("mlp", "the sigmoid network"), ("inception", "the small Inception"))
        if answers[f"dropout-bn-{suffix}"].verdict != NOT_RUN
    ]
    return " ".join(said)


STUDY = Study(
    name="dropout",
    title="Dropout",
    sections="3.4",
    question="Is dropout needed with BN, and does BN do what dropout did?",
    experiments=("dropout", "dropout_inception"),
    claims=(
        *claims_of("mlp", *NETWORKS[0], (0.2, 1), headline="Sigmoid network, BN: dropout gains nothing"),
        Claim(
            id="dropout-gap-mlp",
            section="3.4",
            group=GROUP.format(NETWORKS[0][0]),
            says="without dropout, after as many steps, BN has a narrower gap between training and test accuracy",
            paper="regularizes",
            unit="points",
            reference=NONE,
            subject="dropout/batch",
            control=NONE,
            select=partial(trials_of, False),
            measure=narrower_gap,
            rule=Above(0, 0.2),
            after_look=AFTER_LOOK["dropout-gap-mlp"],
        ),
        *claims_of("inception", *NETWORKS[1], (0.5, 2)),
    ),
    figures=(
        Figure(
            name="dropout",
            title="Accuracy against dropout, with and without BN",
            caption="Final accuracy on test images, with bands from the lowest to the highest seed, and dotted on training images. Each "
            "seed is shown at the learning rate that the other seeds prefer. In the sigmoid network dropout follows every hidden layer, in "
            "Inception it stands before the classifier.",
            alt="Accuracy over rates of dropout, a panel per network and a curve per norm, on test and on training images.",
            draw=draw_dropout,
            experiments=("dropout", "dropout_inception"),
        ),
    ),
    in_words=answer_in_words,
)
