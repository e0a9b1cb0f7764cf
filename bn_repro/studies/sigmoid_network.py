"""Does BN train the sigmoid network faster and further, with steadier inputs of its nonlinearities? (section 4.1, Figure 1)"""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure as Drawing
from scipy.stats import wasserstein_distance

from bn_repro.figures.style import STYLES, Arm, columns_of, draw_over_seeds, new_figure, thousands
from bn_repro.measures.accuracy import accuracy_difference, speedup
from bn_repro.measures.contrasts import reduction
from bn_repro.records.record import Run
from bn_repro.studies.study import Answers, Figure, Study, of_arms
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.numbers import fewer, in_words
from bn_repro.verdicts.rules import NOT_RUN, Above

PLAIN, BN = "mnist_sigmoid/none", "mnist_sigmoid/batch"  # both at the plain network's best point without momentum
PLAIN_BEST, BN_BEST = "mnist_best/plain_best", "mnist_best/bn_best"  # each at its own best point of the whole grid
COMMON_WORDS, BEST_WORDS = "No momentum, both at the best learning rate without BN", "Each at its own best learning rate and momentum"
# Validation accuracy in percent that the plain network ends with on the tuning seeds (mnist_protocol/long), at the two points.
PLATEAU_COMMON, PLATEAU_BEST = 96.985, 97.14
STABLE = "far more stable"  # no number; twice is taken to be the least that this can mean


def last_layer(run: Run) -> str:
    """Return the place before the last nonlinearity: its input, as in Figures 1b and 1c."""
    return f"hidden.{run.config['network.depth'] - 1}/after_norm"


def unit_percentiles(run: Run) -> np.ndarray:
    """Return the percentiles over training of single units of the last hidden layer: (rows, units, percentiles)."""
    return run.activations[f"{last_layer(run)}/unit_percentiles"]


def medians(run: Run) -> np.ndarray:
    """Return (rows, units)."""
    return unit_percentiles(run)[:, :, list(run.config["probe.percentiles"]).index(50)]


def widths(run: Run) -> np.ndarray:
    """Return (rows, units): from the lowest to the highest percentile, 15 to 85, never quite 0."""
    percentiles = unit_percentiles(run)
    return np.maximum(percentiles[:, :, -1] - percentiles[:, :, 0], 1e-6)


def path(series: np.ndarray) -> np.ndarray:
    """Return the total of all absolute changes along the first axis."""
    return np.abs(np.diff(series, axis=0)).sum(axis=0)


def median_path(run: Run) -> float:
    """Return how far a unit's median travels over training, in units of its final width; the median unit's."""
    return float(np.median(path(medians(run)) / widths(run)[-1]))


def width_path(run: Run) -> float:
    """Return how much a unit's width changes over training, all changes added, in units of its final width."""
    return float(np.median(path(widths(run)) / widths(run)[-1]))


def distance_to_final(run: Run) -> float:
    """Return the Wasserstein-1 distance of the layer's distribution to its final one, over training on average.

    In units of the layer's final 15-85 width; all units together, from the fixed-edge histogram.
    """
    place = last_layer(run)
    histograms = run.activations[f"{place}/histogram"]
    low, high = run.activations[f"{place}/range"][0]
    edges = np.linspace(low, high, histograms.shape[1] + 1)
    centers = (edges[1:] + edges[:-1]) / 2
    distances = [wasserstein_distance(centers, centers, row, histograms[-1]) for row in histograms[:-1]]
    final = run.activations[f"{place}/percentiles"][-1]
    return float(np.mean(distances) / max(final[-1] - final[0], 1e-6))


def figure_1_claims(suffix: str, group: str, reference: str, subject: str, plateau: float) -> Sequence[Claim]:
    """List Figure 1's claims for one choice of hyperparameters; sizes are ours, since the paper prints none."""
    is_common = suffix == "common"

    def claim(id: str, says: str, paper: str, unit: str, measure: Callable, rule: Above, headline: str = "") -> Claim:
        return Claim(
            id=f"fig1-{id}-{suffix}",
            section="4.1",
            group=group,
            says=says,
            paper=paper,
            unit=unit,
            reference=reference,
            subject=subject,
            control=reference,
            measure=measure,
            rule=rule,
            headline=headline if is_common else "",
        )

    return (
        claim(
            id="accuracy",
            says="BN ends with the higher test accuracy",
            paper="higher",
            unit="points",
            measure=accuracy_difference,
            rule=Above(0, 0.2),
        ),
        claim(
            id="steps-95",
            says=f"BN needs fewer steps to {0.95 * plateau:.1f} %, 95 % of the plain network's plateau",
            paper="fewer",
            unit="x",
            measure=speedup(0.95 * plateau),
            rule=Above(1, 1.5),
        ),
        claim(
            id="steps-98",
            says=f"BN needs fewer steps to {0.98 * plateau:.1f} %, 98 % of the plateau",
            paper="fewer",
            unit="x",
            measure=speedup(0.98 * plateau),
            rule=Above(1, 1.5),
            headline="Sigmoid network, to 98 %: fewer steps",
        ),
        claim(
            id="median",
            says="BN moves the median input of a sigmoid of the last hidden layer less",
            paper=STABLE,
            unit="x",
            measure=reduction(median_path),
            rule=Above(1, 2),
        ),
        claim(
            id="width",
            says="BN changes the 15-85 width of that input less",
            paper=STABLE,
            unit="x",
            measure=reduction(width_path),
            rule=Above(1, 2),
        ),
        claim(
            id="distance",
            says="BN keeps that layer's inputs nearer to their final distribution",
            paper=STABLE,
            unit="x",
            measure=reduction(distance_to_final),
            rule=Above(1, 2),
        ),
    )


def figure_1a(arms: Sequence[Arm]) -> Drawing:
    """Draw test accuracy against training steps, on the paper's axis and enlarged."""
    figure, axes = new_figure(2, 9, 3.6)
    for axis, (low, high) in zip(axes, ((0.7, 1.0), (0.94, 0.99))):
        for label, runs in arms:
            steps, accuracies = columns_of(runs, "accuracy")
            draw_over_seeds(axis, label, steps, accuracies)
        axis.set(xlabel="training steps", ylabel="test accuracy (fraction)", ylim=(low, high), xlim=(0, None))
        axis.xaxis.set_major_formatter(thousands)
    axes[0].set_title("as in the paper", fontsize=10, loc="left")
    axes[1].set_title("enlarged", fontsize=10, loc="left")
    axes[0].legend(loc="lower right")
    return figure


def figure_1bc(arms: Sequence[Arm]) -> Drawing:
    """Draw the 15, 50 and 85 percentiles of the input to one typical sigmoid of the last hidden layer."""
    figure, axes = new_figure(len(arms), 4.5 * len(arms), 3.6, sharey=True)
    for axis, letter, (label, runs) in zip(axes, "bc", arms):
        color = STYLES[label].color
        steps = runs[0].activations["step"]
        curves = np.stack([unit_percentiles(run)[:, typical_unit(run)] for run in runs])  # (seeds, rows, percentiles)
        for column, percentile in enumerate(runs[0].config["probe.percentiles"]):
            values = curves[:, :, column]
            axis.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.13, linewidth=0)
            axis.plot(steps, values[0], color=color, linewidth=1.6)
            axis.annotate(f"{percentile:g}", (steps[-1], values[0, -1]), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
        axis.set_title(f"({letter}) {label}", fontsize=10, loc="left")
        axis.set(xlabel="training steps", xlim=(0, None))
        axis.xaxis.set_major_formatter(thousands)
    axes[0].set_ylabel("input to the sigmoid")
    return figure


def typical_unit(run: Run) -> int:
    """Return the unit whose median travels the median distance, relative to its final width."""
    distances = path(medians(run)) / widths(run)[-1]
    return int(np.argsort(distances, kind="stable")[len(distances) // 2])


def figures(suffix: str, words: str, reference: str, subject: str) -> Sequence[Figure]:
    arms = (("without BN", reference), ("with BN", subject))
    experiments = (reference.split("/")[0],)
    return (
        Figure(
            name=f"figure-1a{suffix}",
            title=f"Figure 1a: test accuracy. {words}",
            caption="Test accuracy against training steps, by moving averages. Lines are means over seeds, bands run from the lowest to "
            "the highest seed.",
            alt="Two panels of test accuracy against training steps, without BN dashed and with BN solid, the second panel enlarged.",
            draw=of_arms(figure_1a, arms),
            experiments=experiments,
        ),
        Figure(
            name=f"figure-1bc{suffix}",
            title=f"Figures 1b, 1c: the input to a typical sigmoid. {words}",
            caption="The 15, 50 and 85 percentiles of the input to one sigmoid of the last hidden layer, on a fixed batch of test images. "
            "Lines are of the first seed and the unit whose median travels the median distance; bands run over all seeds.",
            alt="Two panels of three percentile curves over training, on the left without BN and on the right with BN.",
            draw=of_arms(figure_1bc, arms),
            experiments=experiments,
        ),
    )


def answer_in_words(answers: Answers) -> str:
    asked = [suffix for suffix in ("common", "best") if answers[f"fig1-accuracy-{suffix}"].verdict != NOT_RUN]
    where = {"common": "at the best learning rate without BN", "best": "each at its own best"}

    def said(id: str) -> str:
        return ", ".join(f"{in_words(answers[f'fig1-{id}-{suffix}'])} {where[suffix]}" for suffix in asked)

    steps = "; ".join(
        f"{where[suffix]}, to 95 % {fewer(answers[f'fig1-steps-95-{suffix}'])}, to 98 % {fewer(answers[f'fig1-steps-98-{suffix}'])}"
        for suffix in asked
    )
    distance = fewer(answers["fig1-distance-common"], "smaller", "larger")
    return (
        f"Steps that BN needs to 95 and 98 % of the plain network's accuracy: {steps}. "
        f"BN ends higher by {said('accuracy')}. "
        f"With BN the median input of a last-layer sigmoid travels {fewer(answers['fig1-median-common'], 'less')}, its 15-85 width "
        f"changes {fewer(answers['fig1-width-common'], 'less')}, and the distance of that layer's inputs to their final distribution "
        f"is {distance}."
    )


STUDY = Study(
    name="sigmoid_network",
    title="The sigmoid network on MNIST",
    sections="4.1",
    question="Does BN train the paper's sigmoid network faster and further, and keep the inputs of its sigmoids steady?",
    experiments=("mnist_sigmoid", "mnist_best"),
    claims=(
        *figure_1_claims("common", COMMON_WORDS, PLAIN, BN, PLATEAU_COMMON),
        *figure_1_claims("best", BEST_WORDS, PLAIN_BEST, BN_BEST, PLATEAU_BEST),
    ),
    figures=(*figures("", COMMON_WORDS, PLAIN, BN), *figures("-best", BEST_WORDS, PLAIN_BEST, BN_BEST)),
    in_words=answer_in_words,
)
