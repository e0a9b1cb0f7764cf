"""How the study looks: actions of perturbed policies, diversity by game, curves by frames, frames, and tables of scores and cost."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Drawing

from bn_repro.figures.style import STYLES, draw_over_seeds, new_figure
from bn_repro.studies.neuroevolution.measures import (
    ES_SIGMA,
    GA_SIGMA,
    PUBLISHED,
    UNPERTURBED,
    diversity,
    interquartile_interval,
    normalized,
    reference_share,
)
from bn_repro.studies.study import Drawn, Rows
from bn_repro.verdicts.numbers import number
from bn_repro.verdicts.selection import Games, games_of, runs_in

NORMS = (("without BN", "none"), ("with VBN", "virtual_batch"), ("with BN", "batch"), ("with layer norm", "layer"))
GA_INITIAL = ("the GA's initial weights", "ga_initial")
MEASURES = (
    ("episode_single_action", "one action only"),
    ("episode_entropy", "entropy of a policy's actions"),
    ("disagreement", "disagreement of two policies"),
    ("changed", "states on which the parent decides otherwise"),
    ("score_std", "standard deviation of scores"),
    ("gradient_agreement", "agreement with the gradient"),
)
ARMS = (("ES without VBN", "es_none"), ("ES with VBN", "es_virtual_batch"), ("GA without VBN", "ga_none"))
SIGMAS = (GA_SIGMA, ES_SIGMA)
OF_PARENTS = ("episode_single_action", "episode_entropy")  # what a policy has by itself
NUM_POINTS = 40  # of a curve
Found = dict[str, dict[int, Games]]  # label: seed: game: run


def runs_by_label(root: Path, tier: str, experiment: str, arms: Sequence[tuple[str, str]]) -> Found:
    """Return the games of each arm that has runs; controls, at seeds that the second arm has not, are left out."""
    found = {label: games_of(root, f"{experiment}/{arm}", tier) for label, arm in arms}
    seeds = found[arms[1][0]].keys()
    found = {label: {seed: games for seed, games in of_arm.items() if seed in seeds} for label, of_arm in found.items()}
    return {label: of_arm for label, of_arm in found.items() if of_arm}


def drawn(content: Drawing | Rows, found: Found) -> Drawn:
    note = "; ".join(f"{label}: n = {len(seeds)}" for label, seeds in found.items())
    return Drawn(content, [run for seeds in found.values() for games in seeds.values() for run in runs_in(games)], f"{note}.")


def draw_actions(root: Path, tier: str) -> Drawn | None:
    """Draw, of the first seed and game, how often each perturbed policy takes each action in its own episode."""
    found = runs_by_label(root, tier, "policy_diversity", NORMS)
    if len(found) < 2:
        return None
    firsts = {label: next(iter(seeds.items())) for label, seeds in found.items()}
    shown = {label: {seed: dict([next(iter(games.items()))])} for label, (seed, games) in firsts.items()}
    figure, axes = new_figure(len(shown), 2.6 * len(shown), 4, sharey=True)
    for axis, (label, seeds) in zip(axes, shown.items()):
        ((games,),) = (seeds.values(),)
        ((game, run),) = games.items()
        actions = run.activations[f"sigma_{ES_SIGMA:g}/episode_actions"][0]  # (P, A)
        frequencies = actions / actions.sum(1, keepdims=True)
        order = np.lexsort((-frequencies.max(1), frequencies.argmax(1)))
        axis.imshow(frequencies[order], aspect="auto", cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
        axis.set(xlabel=f"action in {game}", yticks=[])
        axis.set_title(label, fontsize=10, loc="left")
        axis.grid(False)
    axes[0].set_ylabel("perturbed policies")
    return drawn(figure, shown)


def draw_single_actions(root: Path, tier: str) -> Drawn | None:
    """Draw, by game and sigma, the share of policies that take one action only; a point a norm, a line its range over seeds."""
    found = runs_by_label(root, tier, "policy_diversity", NORMS)
    if len(found) < 2:
        return None
    games = games_in(found)
    sigmas = [UNPERTURBED, *sigmas_in(found)]
    figure, axes = new_figure(len(sigmas), 4.6 * len(sigmas), 3.6, sharey=True)
    for axis, sigma in zip(axes, sigmas):
        for place, (label, seeds) in enumerate(found.items()):
            table = 100 * np.array(
                [[diversity(of_seed[game], sigma, "episode_single_action") for game in games] for of_seed in seeds.values()]
            )
            x = np.arange(len(games)) + 0.15 * (place - (len(found) - 1) / 2)
            axis.errorbar(
                x, table.mean(0), (table.mean(0) - table.min(0), table.max(0) - table.mean(0)),
                fmt="o", markersize=4, color=STYLES[label].color, label=label,
            )  # fmt: skip
        axis.set_xticks(np.arange(len(games)), games, rotation=40, ha="right")
        axis.set(ylim=(-3, 103))
        axis.set_title(f"perturbed by sigma {sigma:g}" if sigma else "random parents", fontsize=10, loc="left")
    axes[0].set_ylabel("policies with one action, percent")
    axes[-1].legend(fontsize=8)
    return drawn(figure, found)


def games_in(found: Found) -> list[str]:
    return list(next(iter(next(iter(found.values())).values())))


def sigmas_in(found: Found) -> list[float]:
    """List the sigmas of both algorithms that the runs have."""
    first = next(iter(next(iter(found.values())).values()))
    return [sigma for sigma in SIGMAS if sigma in next(iter(first.values())).config["probe.sigmas"]]


def draw_measures(root: Path, tier: str) -> Drawn | None:
    """List every measure of diversity by norm and sigma, means over seeds and games."""
    found = runs_by_label(root, tier, "policy_diversity", (*NORMS, GA_INITIAL))
    if len(found) < 2:
        return None
    rows: list[tuple[str, ...]] = [("policies", "sigma", *(words for _, words in MEASURES))]
    for label, seeds in found.items():
        for sigma in (UNPERTURBED, *sigmas_in(found)):
            means = [mean_diversity(list(seeds.values()), sigma, what) for what, _ in MEASURES]
            rows.append((label, f"{sigma:g}", *("-" if mean is None else number(mean) for mean in means)))
    return drawn(tuple(rows), found)


def mean_diversity(seeds: Sequence[Games], sigma: float, what: str) -> float | None:
    """Return a mean over seeds and games; None of the parent where there is nothing to compare it with."""
    if sigma == UNPERTURBED and what not in OF_PARENTS:
        return None
    return float(np.mean([diversity(run, sigma, what) for games in seeds for run in games.values()]))


def draw_curves(root: Path, tier: str) -> Drawn | None:
    """Draw scores against frames, a panel a game, up to the frames that every run played."""
    found = runs_by_label(root, tier, "evolution_curves", ARMS)
    if len(found) < 2:
        return None
    baselines = baselines_in(root, tier)
    games = games_in(found)
    figure, axes = new_figure(len(games), 4.2 * len(games), 3.4)
    for axis, game in zip(axes, games):
        runs = {label: [of_seed[game] for of_seed in seeds.values()] for label, seeds in found.items()}
        frames = np.linspace(0, min(run.summary["frames"] for of_arm in runs.values() for run in of_arm), NUM_POINTS)
        for label, of_arm in runs.items():
            scores = [np.interp(frames, run.column("frames")[1], run.column("score")[1]) for run in of_arm]
            draw_over_seeds(axis, label, frames / 1e6, np.array(scores))
        for name, line in (("random_score", ":"), ("constant_score", "-.")):
            if game in baselines:
                axis.axhline(baselines[game].summary[name], color="#777777", linestyle=line, linewidth=1)
        axis.set(xlabel="million frames")
        axis.set_title(game, fontsize=10, loc="left")
    axes[0].set_ylabel("mean score of an episode")
    axes[0].legend(fontsize=8)
    return drawn(figure, found)


def baselines_in(root: Path, tier: str) -> Games:
    return next(iter(games_of(root, "evolution_curves/baselines", tier).values()), {})


def draw_frames(root: Path, tier: str) -> Drawn | None:
    """Draw frames of random play, a row a game: of the states on which policies decide."""
    found = runs_by_label(root, tier, "policy_diversity", NORMS[:2])
    if not found:
        return None
    label, seeds = next(iter(found.items()))
    seed, games = next(iter(seeds.items()))
    strips = [np.hstack(list(run.activations["states/frames"][0])) for run in games.values()]
    figure, (axis,) = new_figure(1, 6, 1.0 * len(strips))
    axis.imshow(np.vstack(strips), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks(84 * np.arange(len(strips)) + 42, list(games))
    axis.grid(False)
    return drawn(figure, {label: {seed: games}})


def draw_scores(root: Path, tier: str) -> Drawn | None:
    """List final scores beside random play, the best constant action and the published ones, and their interquartile mean."""
    found = runs_by_label(root, tier, "evolution_curves", ARMS)
    if len(found) < 2:
        return None
    baselines, games = baselines_in(root, tier), games_in(found)
    rows = [("game", *found, "random play", "best constant action", "random, published", "ES, published")]
    for game in games:
        scores = [np.mean([of_seed[game].summary["score"] for of_seed in seeds.values()]) for seeds in found.values()]
        ours = [baselines[game].summary[name] if game in baselines else None for name in ("random_score", "constant_score")]
        rows.append((game, *map(number, [*scores, *ours, *PUBLISHED[game]])))
    means = []
    for seeds in found.values():
        table = np.array([[normalized(of_seed[game].summary["score"], game) for game in games] for of_seed in seeds.values()])
        means.append("{} [{}, {}]".format(*map(number, interquartile_interval(table))))
    rows.append(("interquartile mean, random 0, published 1", *means, *[""] * 4))
    frames = [np.mean([run.summary["frames"] for games in seeds.values() for run in games.values()]) for seeds in found.values()]
    rows.append(("million frames", *(number(each / 1e6) for each in frames), *[""] * 3, "1,000"))
    return drawn(tuple(rows), found)


def draw_cost(root: Path, tier: str) -> Drawn | None:
    """List what the reference passes took: forward passes of a policy beside its decisions, and their share of a run's time."""
    found = runs_by_label(root, tier, "evolution_curves", ARMS)
    found = {label: seeds for label, seeds in found.items() if label == "ES with VBN"}
    if not found:
        return None
    rows = [("game", "reference passes of a policy", "its decisions", "share of the time, percent")]
    for game in next(iter(found["ES with VBN"].values())):
        runs = [games[game] for games in found["ES with VBN"].values()]
        decisions = np.mean([run.column("population_decisions")[1].mean() for run in runs])
        size = runs[0].config["game.reference_size"]
        rows.append((game, str(size), number(decisions), number(float(np.mean([reference_share(run) for run in runs])))))
    return drawn(tuple(rows), found)
