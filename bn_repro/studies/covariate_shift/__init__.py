"""Does BN work by reducing internal covariate shift? (abstract, sections 1, 3.3; Santurkar et al. 2018, Bjorck et al. 2018)"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure as Drawing

from bn_repro.figures.distributions import figure_drift, figure_percentiles, figure_ridges
from bn_repro.figures.style import Arm
from bn_repro.studies.covariate_shift.claims import COVARIATE_SHIFT, NETWORKS
from bn_repro.studies.covariate_shift.figures import figure_depth, figure_gradient_shift, figure_landscape, figure_spectra, figure_training
from bn_repro.studies.covariate_shift.words import answer_in_words, definitions
from bn_repro.studies.study import Drawn, Figure, Study, of_arms
from bn_repro.verdicts.judging import judge_all
from bn_repro.verdicts.selection import runs_of

ARMS = (("without BN", "none"), ("with BN", "batch"), ("with noisy BN", "noisy_batch"), ("with noise, without BN", "noisy_none"))
EXPERIMENTS = tuple(network.experiment for network in NETWORKS)
SEEDS = "Lines are means over seeds, bands run from the lowest to the highest seed."


class Picture(NamedTuple):
    """One figure of each network; the first so many of `ARMS` are in it."""

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[Sequence[Arm]], Drawing]
    num_arms: int


PICTURES = (
    Picture(
        "training",
        "training, with BN, without, and with noise",
        f"Left: the training loss since the last measurement. {SEEDS} Right: final test accuracy, by Algorithm 2 where there is BN.",
        "A curve of the loss over steps per arm, and a dot per seed and arm at its final accuracy.",
        figure_training,
        4,
    ),
    Picture(
        "percentiles",
        "the inputs of every nonlinearity over training",
        "The 15, 50 and 85 percentiles over all units, on one fixed batch of test images, of the first seed. The axis leaves out the 2 % "
        "of them that are farthest out.",
        "A panel per layer: the median over steps, in a band from the lowest percentile to the highest, without BN and with BN.",
        figure_percentiles,
        2,
    ),
    Picture(
        "ridges",
        "histograms over training",
        "The inputs of nonlinearities of layers spread over the depth, at steps of training from below upwards, of the first seed.",
        "Histograms one above the other, panels without BN above those with: with BN they keep their place and width more.",
        figure_ridges,
        2,
    ),
    Picture(
        "drift",
        "drift of every layer",
        "How far each layer's distribution is from its final one at each record: 0 is the same, 1 has nothing in common; means over seeds. "
        "Without BN both rows are the same.",
        "Heat maps of layers over steps, before the norm and after it: dark where far from the end, which with noise is nearly everywhere.",
        figure_drift,
        3,
    ),
    Picture(
        "gradient-shift",
        "gradient shift",
        "How far a layer's gradient G moves when all layers below make their step, to G', on the same batch; the median over the measured "
        f"layers but the first. {SEEDS}",
        "Three panels over steps: the norm of the difference, the same over the gradient, the cosine; bands of all arms overlap.",
        figure_gradient_shift,
        3,
    ),
    Picture(
        "landscape",
        "the landscape along the gradient",
        "At half to four times the learning rate along the gradient of a training batch: lowest to highest loss, lowest to highest change "
        "of the gradient, the largest such change over its distance; means over seeds.",
        "Three panels over steps: the loss, the gradient's change and its smoothness; those with BN and without overlap.",
        figure_landscape,
        2,
    ),
    Picture(
        "spectra",
        "singular values of layer Jacobians",
        "Singular values of the map from a layer's input to its norm's output, at the end of training, for one example, of the measured "
        f"layers of which all are known. The dotted line is 1. {SEEDS}",
        "A panel per measured layer: singular values by percentile on a logarithmic axis, from far below 1 to above it.",
        figure_spectra,
        2,
    ),
    Picture(
        "depth",
        "magnitudes against depth",
        "Activations before the norm, and the loss's gradients with respect to them, of a training batch: untrained and last measured. "
        f"{SEEDS}",
        "Activations above, gradients below, untrained on the left: there gradients of the first layers are larger with BN.",
        figure_depth,
        2,
    ),
)


def draw_definitions(root: Path, tier: str) -> Drawn | None:
    """Return the table of all definitions, of both networks."""
    runs = [run for name in EXPERIMENTS for _, norm in ARMS for run in runs_of(root, f"{name}/{norm}", tier).values()]
    answers = {answer.id: answer for answer in judge_all(root, tier, COVARIATE_SHIFT)}
    return Drawn(definitions(answers), runs) if runs else None


STUDY = Study(
    name="covariate_shift",
    title="Internal covariate shift",
    sections="1, 3.3",
    question="Does BN work by making distributions and gradients shift less?",
    experiments=EXPERIMENTS,
    claims=COVARIATE_SHIFT,
    figures=(
        Figure(
            name="covariate-shift",
            title="Is it internal covariate shift? Every definition and its rivals, both networks",
            caption="The paper defines internal covariate shift in words; each later definition is a row, judged on the same runs.",
            alt="A table of definitions with the verdict for each network.",
            draw=draw_definitions,
            experiments=EXPERIMENTS,
        ),
        *(
            Figure(
                name=f"covariate-shift-{network.suffix}-{picture.name}",
                title=f"{network.name[0].upper()}{network.name[1:]}: {picture.title}",
                caption=picture.caption,
                alt=f"{network.name[0].upper()}{network.name[1:]}. {picture.alt}",
                draw=of_arms(picture.draw, [(label, f"{network.experiment}/{norm}") for label, norm in ARMS[: picture.num_arms]]),
                experiments=(network.experiment,),
            )
            for network in NETWORKS
            for picture in PICTURES
        ),
    ),
    in_words=answer_in_words,
)
