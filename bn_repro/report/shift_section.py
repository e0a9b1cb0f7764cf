"""Is it internal covariate shift: each definition's verdict for each network side by side, what they say together, and the pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from bn_repro.report.distribution_figures import figure_drift, figure_percentiles, figure_ridges
from bn_repro.report.figures import Arm
from bn_repro.report.numbers import number, with_interval
from bn_repro.report.section import Section, command, machines
from bn_repro.report.shift_figures import figure_depth, figure_gradient_shift, figure_landscape, figure_spectra, figure_training
from bn_repro.studies.covariate_shift import COVARIATE_SHIFT, NETWORKS
from bn_repro.verdicts.judging import Answer
from bn_repro.verdicts.rules import INCONCLUSIVE, NOT_REPRODUCED, NOT_RUN, PARTLY, REPRODUCED
from bn_repro.verdicts.selection import runs_of

DEFINITIONS, TITLE = "covariate-shift", "Is it internal covariate shift?"
KINDS = (
    ("drift", "distributions drift less with BN"),
    ("gradient", "gradients shift less with BN"),
    ("landscape", "the landscape is smoother with BN"),
    ("jacobian", "singular values are nearer to 1 with BN"),
    ("depth", "magnitudes are more even over the depth with BN"),
    ("noisy-drift", "noise after BN makes distributions less stable than no BN does"),
    ("kept", "it leaves at least half of BN's gain"),
    ("noisy-none", "it does less harm than without BN"),
)
WORDS = {REPRODUCED: "yes", PARTLY: "slightly", NOT_REPRODUCED: "no", INCONCLUSIVE: "unclear", NOT_RUN: "not run"}
ARMS = (("without BN", "none"), ("with BN", "batch"), ("with noisy BN", "noisy_batch"), ("with noise, without BN", "noisy_none"))


@dataclass(frozen=True)
class Picture:
    """One figure of a network.

    Args:
        num_arms: the first so many of `ARMS` are in it.
        has_all_seeds: it shows all runs of an arm, not only the first.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Sequence[Arm]], Figure]
    num_arms: int
    has_all_seeds: bool = True


SEEDS = "Lines are means over seeds, bands run from the lowest to the highest seed."
PICTURES = (
    Picture(
        "training",
        "training, with BN, without, and with noise",
        f"Left: the training loss since the last measurement. {SEEDS} Right: by Algorithm 2 where there is BN.",
        figure_training,
        4,
    ),
    Picture(
        "percentiles",
        "the inputs of every nonlinearity over training",
        "The 15, 50 and 85 percentiles over all units, on one fixed batch of test images, of the first seed. The axis leaves out the 2 % "
        "of them that are farthest out.",
        figure_percentiles,
        2,
        has_all_seeds=False,
    ),
    Picture(
        "ridges",
        "histograms over training",
        "The inputs of nonlinearities of layers spread over the depth, at steps of training from below upwards, of the first seed.",
        figure_ridges,
        2,
        has_all_seeds=False,
    ),
    Picture(
        "drift",
        "drift of every layer",
        "How far each layer's distribution is from its final one at each record: 0 is the same, 1 has nothing in common; means over seeds. "
        "Without BN both rows are the same.",
        figure_drift,
        3,
    ),
    Picture(
        "gradient-shift",
        "gradient shift",
        "How far a layer's gradient G moves when all layers below make their step, to G', on the same batch; the median over the measured "
        f"layers but the first. {SEEDS}",
        figure_gradient_shift,
        3,
    ),
    Picture(
        "landscape",
        "the landscape along the gradient",
        "At half to four times the learning rate along the gradient of a training batch: lowest to highest loss, lowest to highest change "
        "of the gradient, the largest such change over its distance; means over seeds.",
        figure_landscape,
        2,
    ),
    Picture(
        "spectra",
        "singular values of layer Jacobians",
        "Of the map from a layer's input to its norm's output, at the end of training, for one example, of the measured layers whose "
        f"singular values are all known. The dotted line is 1. {SEEDS}",
        figure_spectra,
        2,
    ),
    Picture(
        "depth",
        "magnitudes against depth",
        f"Activations before the norm and the loss's gradients in them, of a training batch: untrained, and last measured. {SEEDS}",
        figure_depth,
        2,
    ),
)


def shift_sections(root: Path, tier: str, answers: Sequence[Answer]) -> list[Section]:
    """Return the table of all definitions, then the pictures of each network; no records, no sections.

    Args:
        answers: of the claims of covariate shift, and any others.
    """
    found = {
        (experiment, norm): list(runs_of(root, f"{experiment}/{norm}", tier).values()) for *_, experiment in NETWORKS for _, norm in ARMS
    }
    if not any(found[experiment, "none"] and found[experiment, "batch"] for *_, experiment in NETWORKS):
        return []
    runs = [run for runs in found.values() for run in runs]
    by_id = {answer.id: answer for answer in answers}
    whole = command(tier, "covariate_shift", "covariate_shift_control")  # each on both networks
    drawn = [Section(DEFINITIONS, TITLE, in_words(by_id), whole, machines(runs), table=definitions(by_id))]
    for suffix, network, experiment in NETWORKS:
        for picture in PICTURES:
            arms = [(label, found[experiment, norm]) for label, norm in ARMS[: picture.num_arms] if found[experiment, norm]]
            if len(arms) < 2:
                continue
            counts = "; ".join(f"{label}: n = {len(runs)}" for label, runs in arms)
            drawn.append(
                Section(
                    f"{DEFINITIONS}-{suffix}-{picture.name}",
                    f"{network[0].upper()}{network[1:]}: {picture.title}",
                    f"{picture.caption} {counts}." if picture.has_all_seeds else picture.caption,
                    command(tier, experiment),
                    machines([run for _, runs in arms for run in runs]),
                    figure=picture.draw(arms),
                )
            )
    return drawn


def definitions(answers: dict[str, Answer]) -> tuple[tuple[str, ...], ...]:
    """Return a row for each definition: what was said before, and each network's verdict with its number."""
    rows = [("definition", "said before", *(network for _, network, _ in NETWORKS))]
    first, network, _ = NETWORKS[0]
    for claim in COVARIATE_SHIFT:
        if claim.id.endswith(f"-{first}"):
            found = [answers[claim.id.removesuffix(first) + suffix] for suffix, *_ in NETWORKS]
            rows.append((claim.statement.removesuffix(f" ({network})"), claim.paper, *map(in_a_cell, found)))
    return tuple(rows)


def in_a_cell(answer: Answer) -> str:
    numbers = f": {with_interval(answer.as_dict())} {answer.unit}, n = {answer.n}"
    return answer.verdict + (numbers if answer.verdict != NOT_RUN else "")


def in_words(answers: dict[str, Answer]) -> str:
    """Say for each kind of row how many hold, whether the paper's definitions agree, and what noise after BN does."""
    sentences = []
    for kind, statement in KINDS:
        verdicts = verdicts_of(answers, kind)
        counts = ", ".join(f"{verdicts.count(verdict)} {word}" for verdict, word in WORDS.items() if verdict in verdicts)
        sentences.append(f"{statement}: {counts}")
    at_odds = [f"the {network}" for suffix, network, _ in NETWORKS if is_contradicted(answers, suffix)]
    agree = f"contradict one another in {' and in '.join(at_odds)}" if at_odds else "do not contradict one another"
    return (
        f"Each row is judged by itself, on the same runs. Rows of both networks: {'; '.join(sentences)}. The definitions of the shift "
        f"itself, by distributions and by gradients, {agree}. {noise_in_numbers(answers)}"
    ).strip()


def verdicts_of(answers: dict[str, Answer], kind: str, suffix: str = "") -> list[str]:
    """List the verdicts of one kind of rows, of one network or of all."""
    return [answer.verdict for id, answer in answers.items() if id.startswith(f"ics-{kind}-") and id.endswith(suffix)]


def is_contradicted(answers: dict[str, Answer], suffix: str) -> bool:
    """Say whether some of a network's rows of drift and of gradients say yes, and others no."""
    verdicts = {*verdicts_of(answers, "drift", suffix), *verdicts_of(answers, "gradient", suffix)}
    return NOT_REPRODUCED in verdicts and bool(verdicts & {REPRODUCED, PARTLY})


def noise_in_numbers(answers: dict[str, Answer]) -> str:
    """Say for each network how unstable noise after BN makes it, and how far from the middle it then ends."""
    found = []
    for suffix, network, _ in NETWORKS:
        drift, accuracy = answers[f"ics-noisy-drift-{suffix}"], answers[f"ics-kept-accuracy-{suffix}"]
        if NOT_RUN not in (drift.verdict, accuracy.verdict):
            side = "above" if accuracy.estimate > 0 else "below"
            found.append(
                f"in the {network} it moves distributions {number(drift.estimate)} times as much as no BN does ({drift.verdict}), and "
                f"accuracy ends {number(abs(accuracy.estimate))} points {side} the middle between no BN and BN ({accuracy.verdict})"
            )
    return f"If BN worked by making distributions stable, noise after it would cost its gain: {'; '.join(found)}." if found else ""
