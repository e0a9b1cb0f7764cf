"""At which depths do saturating nonlinearities train, with which norm, and which keeps them out of saturation? (abstract, section 1)"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import PercentFormatter

from bn_repro.figures.style import draw_over_seeds, new_figure
from bn_repro.measures.accuracy import final_accuracy
from bn_repro.measures.contrasts import Pairs, difference
from bn_repro.records.record import Run
from bn_repro.studies.covariate_shift.measures import by_layer
from bn_repro.studies.learning_rates import at_best_lr, difference_at_best_lr
from bn_repro.studies.study import NO_RUNS, Answers, Drawn, Figure, Study
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.numbers import in_words
from bn_repro.verdicts.rules import NOT_RUN, Above
from bn_repro.verdicts.selection import NAME, Map, complete_by_seed, named_runs
from bn_repro.verdicts.statistics import Mean, Sample

Select = Callable[[Path, str, str], dict]
NONLINEARITIES = ("sigmoid", "tanh")
GOLDBERG = "normalized_tanh"  # stands among the tanh
DEPTHS = (3, 10, 20)
TRAINED = 50  # percent of the test images
ASKED_DEPTHS = DEPTHS[1:]
OF_NONLINEARITY = r"(,network\.nonlinearity=\w+)?"
CELL_NAME = re.compile(rf"{NAME.pattern},network\.depth=\d+,network\.init_std=(?P<std>[^,]+){OF_NONLINEARITY},train\.lr=(?P<lr>[^,]+)")
SATURATION_NAME = re.compile(NAME.pattern + OF_NONLINEARITY)
ARMS = (
    ("without BN", "none"),
    ("with BN", "batch"),
    ("with layer norm", "layer"),
    ("with group norm", "group"),
    ("Goldberg's layer norm", "goldberg"),
)
WORDS = {"batch": "BN", "layer": "layer norm", "goldberg": "Goldberg's layer norm"}


def has_nonlinearity(run: Run, name: str) -> bool:
    return run.config["network.nonlinearity"] in ((name, GOLDBERG) if name == "tanh" else (name,))


def cells_of(nonlinearity: str, depth: int, root: Path, arm: str, tier: str) -> dict[int, Map]:
    """Return by seed an arm's runs of one nonlinearity and depth, at each learning rate and deviation; of seeds that have all points."""
    named = named_runs(root, arm, tier, CELL_NAME)
    of_cell = [found for found in named if found[1].config["network.depth"] == depth and has_nonlinearity(found[1], nonlinearity)]
    return complete_by_seed(of_cell, lambda name: (float(name["lr"]), float(name["std"])))


def saturating_runs(nonlinearity: str, root: Path, arm: str, tier: str) -> dict[int, Run]:
    """Return by seed an arm's runs of one nonlinearity from initial weights that saturate it."""
    named = named_runs(root, arm, tier, SATURATION_NAME)
    return dict(sorted((int(name["seed"]), run) for name, run in named if has_nonlinearity(run, nonlinearity)))


def saturated_by_layer(run: Run) -> np.ndarray:
    """Return (layers,): the share of each layer's inputs of nonlinearities that lie where these are flat, at the end of training."""
    return np.array([run.activations[f"hidden.{layer}/after_norm/saturated"][-1] for layer in range(run.config["network.depth"])])


def saturated_share(run: Run) -> float:
    return float(saturated_by_layer(run).mean())


def less_saturated(pairs: Pairs) -> Mean:
    """Return by how much the subject's saturated share is lower."""
    return difference(lambda run: -saturated_share(run))(pairs)


def depth_claim(nonlinearity: str, depth: int, arm: str) -> Claim:
    return Claim(
        id=f"depth-{nonlinearity}-{depth}-{arm}",
        section="1",
        group=f"{depth} layers of {nonlinearity}, each norm at the best of four trials",
        says=f"{WORDS[arm]}: test accuracy is higher than without a norm",
        paper="trains where plain fails" if arm == "batch" else "counters saturation (Goldberg 2017)",
        unit="points",
        reference="depth/none",
        subject=f"depth/{arm}",
        control="depth/none",
        select=partial(cells_of, nonlinearity, depth),
        measure=difference_at_best_lr,
        rule=Above(0, 20),
    )


def saturation_claim(nonlinearity: str, arm: str, id: str, says: str, unit: str, measure: Callable[[Pairs], Sample], size: float) -> Claim:
    return Claim(
        id=f"saturation-{id}-{nonlinearity}-{arm}",
        section="1",
        group=f"5 layers of {nonlinearity} from weights that saturate them",
        says=f"{WORDS[arm]}: {says}",
        paper="less likely to get stuck" if arm == "batch" else "counters saturation (Goldberg 2017)",
        unit=unit,
        reference="saturation/none",
        subject=f"saturation/{arm}",
        control="saturation/none",
        select=partial(saturating_runs, nonlinearity),
        measure=measure,
        rule=Above(0, size),
    )


def claims_of(nonlinearity: str) -> list[Claim]:
    arms = ("batch", "layer", "goldberg") if nonlinearity == "tanh" else ("batch", "layer")
    share = ("share", "the share of saturated inputs of nonlinearities is lower", "share", less_saturated, 0.1)
    accuracy = ("accuracy", "test accuracy is higher than without a norm", "points", difference(final_accuracy), 1)
    return [
        *(depth_claim(nonlinearity, depth, arm) for depth in ASKED_DEPTHS for arm in arms),
        *(saturation_claim(nonlinearity, arm, *asked) for asked in (share, accuracy) for arm in arms),
    ]


def draw_depths(root: Path, tier: str) -> Drawn | None:
    """Draw final accuracy against depth, a panel per nonlinearity and a curve per norm, each seed at the point that the others prefer."""
    curves, runs = [], []
    for nonlinearity in NONLINEARITIES:
        shown = {}
        for label, arm in ARMS:
            cells = [list(cells_of(nonlinearity, depth, root, f"depth/{arm}", tier).values()) for depth in DEPTHS]
            if all(cells):
                best = [at_best_lr(of_depth) for of_depth in cells]
                runs += [run for of_depth in best for run in of_depth]
                num_seeds = min(map(len, best))
                shown[label] = np.array([[final_accuracy(run) for run in of_depth[:num_seeds]] for of_depth in best]).T
        curves.append((nonlinearity, shown))
    if not all(shown for _, shown in curves):
        return None
    return Drawn(figure_curves(curves, DEPTHS, "hidden layers", "final test accuracy", 100), runs)


def table_of_depths(root: Path, tier: str) -> Drawn | None:
    """Return a row for each nonlinearity and norm: accuracy by depth, as in `draw_depths`, and how many trials train in all seeds."""
    rows, runs = [], []
    for nonlinearity in NONLINEARITIES:
        for label, arm in ARMS:
            cells = [list(cells_of(nonlinearity, depth, root, f"depth/{arm}", tier).values()) for depth in DEPTHS]
            if all(cells):
                rows.append((nonlinearity, label, *map(in_a_cell, cells)))
                runs += [run for of_depth in cells for trials in of_depth for run in trials.values()]
    headers = ("nonlinearity", "norm", *(f"{depth} layers" for depth in DEPTHS))
    return Drawn((headers, *rows), runs) if rows else None


def in_a_cell(cells: Sequence[Map]) -> str:
    """Write the accuracy at the best trial, and how many train, as `96.1 % (3 of 4)`."""
    trained = [all(final_accuracy(trials[point]) > TRAINED for trials in cells) for point in cells[0]]
    return f"{np.mean([final_accuracy(run) for run in at_best_lr(cells)]):.1f} % ({sum(trained)} of {len(trained)})"


def draw_saturation(root: Path, tier: str) -> Drawn | None:
    """Draw the saturated share against the layer, a panel per nonlinearity and a curve per norm."""
    found = saturated_arms(root, tier)
    if not found:
        return None
    curves = [
        (name, {label: np.array([saturated_by_layer(run) for run in runs]) for label, runs in arms.items() if runs}) for name, arms in found
    ]
    layers = range(1, len(curves[0][1]["with BN"][0]) + 1)
    figure = figure_curves(curves, layers, "hidden layer", "saturated inputs of nonlinearities", 1)
    return Drawn(figure, runs_of_panels(found))


def draw_gradients(root: Path, tier: str) -> Drawn | None:
    """Draw the gradients' size against the layer before training, a panel per nonlinearity and a curve per norm."""
    found = saturated_arms(root, tier)
    if not found:
        return None
    curves = [(name, {label: first_gradients(runs) for label, runs in arms.items() if runs}) for name, arms in found]
    layers = range(1, len(curves[0][1]["with BN"][0]) + 1)
    figure = figure_curves(curves, layers, "hidden layer", "gradient in the weights (root mean square)", None)
    return Drawn(figure, runs_of_panels(found))


def first_gradients(runs: Sequence[Run]) -> np.ndarray:
    """Return (seeds, layers): the root mean square of the gradient in each layer's weights before the first step."""
    return np.array([[series[0] for series in by_layer(run, "magnitudes", "weight_gradient")[1].values()] for run in runs])


Arms = dict[str, list[Run]]


def saturated_arms(root: Path, tier: str) -> list[tuple[str, Arms]]:
    """Return (nonlinearity, {label: runs}) of the networks from weights that saturate; none without those of both main arms."""
    found = [
        (nonlinearity, {label: list(saturating_runs(nonlinearity, root, f"saturation/{arm}", tier).values()) for label, arm in ARMS})
        for nonlinearity in NONLINEARITIES
    ]
    return found if all(arms["without BN"] and arms["with BN"] for _, arms in found) else []


def runs_of_panels(found: Sequence[tuple[str, Arms]]) -> list[Run]:
    return [run for _, arms in found for of_arm in arms.values() for run in of_arm]


def figure_curves(
    panels: Sequence[tuple[str, dict[str, np.ndarray]]], x: Sequence[int], x_label: str, y_label: str, whole: float | None
) -> Drawing:
    """Draw curves (seeds, len(x)) of each panel, shares of `whole` or, without it, on a logarithmic axis."""
    figure, axes = new_figure(len(panels), 9, 3.4, sharey=True)
    for axis, (title, curves) in zip(axes, panels):
        for label, values in curves.items():
            draw_over_seeds(axis, label, np.array(x), values)
        axis.set(xlabel=x_label, xticks=list(x))
        axis.set_title(title, fontsize=10, loc="left")
        if whole is None:
            axis.set_yscale("log")
        else:
            axis.yaxis.set_major_formatter(PercentFormatter(whole, decimals=0))
    axes[0].set(ylabel=y_label, ylim=(None if whole is None else 0, None))  # of all panels, once all are drawn
    axes[-1].legend(fontsize=8)
    return figure


def answer_in_words(answers: Answers) -> str:
    """Say what BN and layer norm gain at the largest depths, and by how much norms lower the saturated share."""

    def gained(depth: int, nonlinearity: str) -> str:
        bn, layer = (in_words(answers[f"depth-{nonlinearity}-{depth}-{arm}"]) for arm in ("batch", "layer"))
        return f"in {depth} layers of {nonlinearity} BN gains {bn} over no norm, layer norm {layer}"

    few, many = ASKED_DEPTHS
    said = []
    if answers[f"depth-sigmoid-{many}-batch"].verdict != NOT_RUN:
        gains = "; ".join((gained(many, "sigmoid"), gained(few, "sigmoid"), gained(many, "tanh")))
        said.append(f"{gains[0].upper()}{gains[1:]}.")
    if answers["saturation-share-tanh-layer"].verdict != NOT_RUN:
        bn, layer, goldberg = (in_words(answers[f"saturation-share-tanh-{arm}"]) for arm in ("batch", "layer", "goldberg"))
        lower = f"{bn} with BN, {layer} with layer norm, {goldberg} with Goldberg's"
        said.append(f"From weights that saturate tanh, the saturated share is lower by {lower}.")
    return " ".join(said) or NO_RUNS


STUDY = Study(
    name="depth",
    title="Depth and saturation",
    sections="1",
    question="Which norm lets deep networks of saturating nonlinearities train, and which keeps them out of saturation?",
    experiments=("depth", "saturation"),
    claims=tuple(claim for nonlinearity in NONLINEARITIES for claim in claims_of(nonlinearity)),
    figures=(
        Figure(
            name="depth-accuracy",
            title="Final accuracy against depth, by norm",
            caption="Final test accuracy of networks of 100 units a layer after 5,000 steps. Each norm and depth has the same four trials, "
            "two learning rates by two initial deviations, and each seed is shown at the one that the other seeds prefer. Goldberg's layer "
            "norm is tanh(h) / ||tanh(h)||, group norm's groups have 4 units. Lines are means over seeds, bands run from the lowest to the "
            "highest seed.",
            alt="Two panels, sigmoid and tanh: accuracy over 3, 10 and 20 layers, a curve per norm.",
            draw=draw_depths,
            experiments=("depth",),
        ),
        Figure(
            name="depth-trials",
            title="Which trials train, by depth and norm",
            caption="Final test accuracy at the best of four trials, as in the figure above, and in how many of the four every seed ends "
            f"above {TRAINED} %. Chance is 10 %.",
            alt="A table of nonlinearity and norm by depth.",
            draw=table_of_depths,
            experiments=("depth",),
        ),
        Figure(
            name="saturation-by-layer",
            title="Saturated inputs of nonlinearities, by layer and norm",
            caption="The share of a layer's units whose output is within 5 % of the nonlinearity's range from either end, after 5,000 "
            "steps at learning rate 0.1. Five layers, initial weights of deviation 1. Of Goldberg's it is tanh(h), before the "
            "division by its norm, after which the next layer's inputs are small. Lines are means over seeds, bands run from the "
            "lowest to the highest seed.",
            alt="Two panels, sigmoid and tanh: the saturated share over five layers, a curve per norm.",
            draw=draw_saturation,
            experiments=("saturation",),
        ),
        Figure(
            name="gradients-by-layer",
            title="Gradients before training, by layer and norm",
            caption="The root mean square of the loss's gradient in each hidden layer's weights before the first step, from the weights of "
            "the figure above. Lines are means over seeds, bands run from the lowest to the highest seed.",
            alt="Two panels, sigmoid and tanh: the gradient over five layers, a curve per norm, on a logarithmic axis.",
            draw=draw_gradients,
            experiments=("saturation",),
        ),
    ),
    in_words=answer_in_words,
)
