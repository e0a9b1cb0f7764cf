"""At which depths do saturating nonlinearities train, with which norm, and which keeps them out of saturation? (abstract, section 1)"""

from collections.abc import Callable
from functools import partial

from bn_repro.measures.accuracy import final_accuracy
from bn_repro.measures.contrasts import Pairs, difference
from bn_repro.studies.depth.figures import TRAINED, draw_depths, draw_gradients, draw_saturation, table_of_depths
from bn_repro.studies.depth.measures import DEPTHS, NONLINEARITIES, cells_of, less_saturated, saturating_runs
from bn_repro.studies.learning_rates import difference_at_best_lr
from bn_repro.studies.study import Answers, Figure, Study
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.numbers import gains, in_words
from bn_repro.verdicts.rules import NOT_RUN, Above
from bn_repro.verdicts.statistics import Sample

ASKED_DEPTHS = DEPTHS[1:]
WORDS = {"batch": "BN", "layer": "layer norm", "goldberg": "Goldberg's layer norm"}


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


def answer_in_words(answers: Answers) -> str:
    """Say what BN and layer norm gain at the largest depths, and by how much norms lower the saturated share."""

    def gained(depth: int, nonlinearity: str) -> str:
        bn, layer = (gains(answers[f"depth-{nonlinearity}-{depth}-{arm}"]) for arm in ("batch", "layer"))
        return f"in {depth} layers of {nonlinearity}, against no norm, BN {bn}, layer norm {layer}"

    few, many = ASKED_DEPTHS
    said = []
    if answers[f"depth-sigmoid-{many}-batch"].verdict != NOT_RUN:
        cases = "; ".join((gained(many, "sigmoid"), gained(few, "sigmoid"), gained(many, "tanh")))
        said.append(f"At the best of four trials, {cases}.")
    if answers["saturation-share-tanh-layer"].verdict != NOT_RUN:
        bn, layer, goldberg = (in_words(answers[f"saturation-share-tanh-{arm}"]) for arm in ("batch", "layer", "goldberg"))
        lower = f"{bn} with BN, {layer} with layer norm, {goldberg} with Goldberg's norm"
        said.append(f"From weights that saturate tanh, the saturated share is lower by {lower}.")
    return " ".join(said)


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
            "steps at learning rate 0.1. Five layers, initial weights of deviation 1. With Goldberg's norm it is tanh(h), before the "
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
