"""What do the networks get where the paper is silent: learning rate, momentum, deviation, decay, dropout? (sections 4.1, 4.2)"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Drawing

from bn_repro.figures.style import STYLES, new_figure
from bn_repro.records.record import Run, find_runs
from bn_repro.studies.study import Answers, Drawn, Figure, Study
from bn_repro.studies.tuning.inception import DECAYS, PLATEAUS, RATES, draw_inception


@dataclass(frozen=True)
class Protocol:
    """A grid: its experiment, of tier `long`, and the knobs that it sweeps."""

    experiment: str
    knobs: tuple[str, ...]


BASE_KNOBS = ("base.lr", "base.final_lr_ratio", "base.drop_rate")
MNIST = Protocol("mnist_protocol", ("train.lr", "train.momentum", "network.init_std"))
INCEPTION_QUICK = Protocol("inception_protocol_quick", BASE_KNOBS)


@dataclass(frozen=True)
class GridPoint:
    """The mean validation accuracy (a fraction) of one point of the grid over `n` seeds."""

    norm: str
    values: tuple[float, ...]  # of the knobs
    accuracy: float
    n: int


def grid_points(runs: Sequence[Run], knobs: Sequence[str]) -> list[GridPoint]:
    """Average the last validation accuracy over seeds, for every norm and point; a diverged run counts as it ended."""
    accuracies = defaultdict(list)
    for run in runs:
        values = tuple(float(run.config[knob]) for knob in knobs)
        accuracies[run.config["norm"], values].append(run.column("accuracy")[1][-1])
    return [GridPoint(norm, values, float(np.mean(found)), len(found)) for (norm, values), found in sorted(accuracies.items())]


def without_momentum(values: Sequence[float]) -> bool:
    return values[MNIST.knobs.index("train.momentum")] == 0


def best_point(points: Sequence[GridPoint], norm: str, is_eligible: Callable[[Sequence[float]], bool] = lambda _: True) -> GridPoint:
    """Return the norm's eligible point of highest validation accuracy; of equal ones the first."""
    return max((point for point in points if point.norm == norm and is_eligible(point.values)), key=lambda point: point.accuracy)


def read_grid(root: Path, tier: str, protocol: Protocol = MNIST) -> list[GridPoint]:
    return grid_points(find_runs(root, protocol.experiment, tier), protocol.knobs)


INCEPTION_LONG = (RATES, DECAYS, PLATEAUS)
KNOB_NAMES = {
    "train.momentum": "momentum", "network.init_std": "std", "base.final_lr_ratio": "final lr ratio", "base.drop_rate": "dropout"
}  # fmt: skip
Choice = tuple[str, str, Callable[[Sequence[float]], bool]]  # what is chosen in words, for which norm, among which points


def everywhere(values: Sequence[float]) -> bool:
    return True


def draw_grid(protocol: Protocol, choices: Sequence[Choice]) -> Callable[[Path, str], Drawn | None]:
    """Draw a grid, and say which points were chosen."""

    def draw(root: Path, tier: str) -> Drawn | None:
        points = read_grid(root, tier, protocol)
        if not points:
            return None
        runs = find_runs(root, protocol.experiment, tier)
        chosen = "; ".join(f"{words}: {in_knobs(best_point(points, norm, among), protocol)}" for words, norm, among in choices)
        num_seeds = min(point.n for point in points)
        seeds = f"means over {num_seeds} seeds" if num_seeds > 1 else "one seed"
        note = f"After {runs[0].config['train.steps']:,} steps; {seeds}. {chosen}."
        return Drawn(figure_grid(points, protocol.knobs), runs, note)

    return draw


def in_knobs(point: GridPoint, protocol: Protocol) -> str:
    values = ", ".join(f"{knob}={value:g}" for knob, value in zip(protocol.knobs, point.values))
    return f"{values} ({100 * point.accuracy:.2f} %)"


def figure_grid(points: Sequence[GridPoint], knobs: Sequence[str]) -> Drawing:
    """Draw validation accuracy against learning rate, the first knob, a panel per setting of the others."""
    settings = sorted({point.values[1:] for point in points})
    figure, axes = new_figure(len(settings), 2.0 * len(settings), 2.9, sharey=True)
    for axis, setting in zip(axes, settings):
        for norm, label in (("none", "without BN"), ("batch", "with BN")):
            series = [(point.values[0], point.accuracy) for point in points if point.norm == norm and point.values[1:] == setting]
            if series:
                axis.plot(*zip(*series), color=STYLES[label].color, linestyle=STYLES[label].line, marker="o", markersize=3, label=label)
        axis.set(xscale="log", xlabel="learning rate", ylim=(0, None))
        words = (f"{KNOB_NAMES[knob]} {value:g}" for knob, value in zip(knobs[1:], setting))
        axis.set_title(", ".join(words), fontsize=8, loc="left")
    axes[0].set_ylabel("validation accuracy (fraction)")
    axes[0].legend(loc="lower center", fontsize=8)
    return figure


def grid_figure(name: str, network: str, protocol: Protocol, choices: Sequence[Choice]) -> Figure:
    return Figure(
        name=name,
        title=f"The grid of the {network}",
        caption="Validation accuracy of every point of the grid.",
        alt=f"Validation accuracy of the {network} against learning rate, a panel for each setting of the other knobs.",
        draw=draw_grid(protocol, choices),
        experiments=(protocol.experiment,),
    )


def answer_in_words(answers: Answers) -> str:
    return (
        "On validation images, at seeds that no comparison uses. In section 4.1 one grid serves both arms. In section 4.2 the plain "
        "network alone is tuned, then each arm's decay; the figures name the points."
    )


BASE_WORDS = "The base of all arms, the best of all without BN"
STUDY = Study(
    name="tuning",
    title="What the paper leaves open",
    sections="4.1, 4.2",
    question="Which learning rate, momentum, initial deviation, decay and dropout do the networks get?",
    experiments=(MNIST.experiment, INCEPTION_QUICK.experiment, *INCEPTION_LONG),
    claims=(),
    figures=(
        grid_figure(
            "protocol",
            "sigmoid network",
            MNIST,
            (
                ("One common point, the plain network's best without momentum", "none", without_momentum),
                ("best of all without BN", "none", everywhere),
                ("best of all with BN", "batch", everywhere),
            ),
        ),
        grid_figure("protocol-inception-quick", "small Inception of tier quick", INCEPTION_QUICK, ((BASE_WORDS, "none", everywhere),)),
        Figure(
            name="protocol-inception-long",
            title="The grids of the small Inception of tier long",
            caption="Validation accuracy after 8,000 steps. Left: the plain network, by learning rate, decay and initial weights. Right: "
            "every arm of section 4.2 at the base that is best of all, by its own decay.",
            alt="Two panels of validation accuracy: against the base learning rate, and against the decay.",
            draw=draw_inception,
            experiments=INCEPTION_LONG,
        ),
    ),
    in_words=answer_in_words,
)
