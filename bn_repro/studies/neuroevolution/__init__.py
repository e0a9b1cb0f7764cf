"""Does virtual batch norm keep perturbed policies diverse, and does evolution need it? (Salimans et al. 2017; Such et al. 2017)"""

from bn_repro.studies.neuroevolution.claims import CLAIMS
from bn_repro.studies.neuroevolution.figures import (
    draw_actions,
    draw_cost,
    draw_curves,
    draw_frames,
    draw_measures,
    draw_scores,
    draw_single_actions,
)
from bn_repro.studies.study import Answers, Figure, Study
from bn_repro.verdicts.numbers import in_words
from bn_repro.verdicts.rules import NOT_RUN


def answer_in_words(answers: Answers) -> str:
    """Say how diverse perturbed policies are with VBN and without, and what was learned in the frames played."""
    if answers["vbn-fewer-one-action"].verdict == NOT_RUN:
        return ""
    fewer = in_words(answers["vbn-fewer-one-action"])
    said = f"Of policies perturbed by sigma 0.02 fewer take one action only with VBN than without, by {fewer}."
    if answers["es-one-action-without"].verdict != NOT_RUN:
        shares = ("es-one-action-without", "es-one-action-by-perturbing", "es-one-action-with")
        without, more, with_vbn = (in_words(answers[id]) for id in shares)
        said = f"{said} They are {without} without a norm, of which perturbing adds {more} to random parents, and {with_vbn} with VBN."
    if answers["ga-one-action"].verdict != NOT_RUN:
        said = f"{said} Of policies perturbed as in the GA, by sigma 0.005, {in_words(answers['ga-one-action'])} do."
    if answers["es-vbn-score"].verdict == NOT_RUN:
        return said
    return f"{said} ES with VBN scores {in_words(answers['es-vbn-score'])} more than without, at some 0.1 % of the published frames."


STUDY = Study(
    name="neuroevolution",
    title="Virtual batch norm and evolution",
    sections="Salimans 2017; Such 2017",
    question="Does virtual batch norm keep perturbed policies diverse, does the genetic algorithm need it, and what does it cost?",
    experiments=("policy_diversity", "evolution_curves"),
    claims=CLAIMS,
    figures=(
        Figure(
            name="perturbed-actions",
            title="Which actions perturbed policies take",
            caption="Each row is a policy perturbed from one random parent by sigma 0.02, each column an action; the darker, the more "
            "often the policy takes it in its own episode. Rows are sorted by the most frequent action. First seed and game.",
            alt="A panel per norm: without a norm single dark cells in each row, with virtual batch norm grey rows.",
            draw=draw_actions,
            experiments=("policy_diversity",),
        ),
        Figure(
            name="perturbed-single-actions",
            title="How many perturbed policies take one action only, by game",
            caption="The share of policies that take one action in all of their own episode: of random parents, and of policies "
            "perturbed from them. Points are means over seeds, lines run from the lowest to the highest seed. Sigma 0.005 is the GA's, "
            "0.02 that of ES.",
            alt="A panel per sigma, games along the axis, a point per norm: high without a norm, low with virtual batch norm.",
            draw=draw_single_actions,
            experiments=("policy_diversity",),
        ),
        Figure(
            name="policy-diversity",
            title="How diverse policies are, by norm and sigma",
            caption="Means over seeds and games; sigma 0 is the random parent. Entropy is a share of the largest possible, 1 if all "
            "actions are taken alike. Disagreement: the share of the same states on which two perturbed policies decide differently. "
            "Scores are of own episodes, in points of the games. Agreement: the correlation of finite differences with a smooth "
            "surrogate's gradient.",
            alt="A table: a row per norm and sigma, a column per measure.",
            draw=draw_measures,
            experiments=("policy_diversity",),
        ),
        Figure(
            name="evolution-curves",
            title="Scores against frames",
            caption="Mean score of the evolved policy in further episodes, cut at 500 decisions. Lines are means over seeds, bands run "
            "from the lowest to the highest seed. Dotted: random play; dash-dotted: the best constant action. Nothing is said beyond "
            "these frames.",
            alt="A panel per game: the scores of the three arms over frames, with two horizontal lines.",
            draw=draw_curves,
            experiments=("evolution_curves",),
        ),
        Figure(
            name="evolution-scores",
            title="Final scores beside what needs no policy",
            caption="Means over seeds, each arm at the frames that it played. Published: Salimans et al. 2017, table 3, after 1e9 frames, "
            "of whole episodes. Interquartile means over seeds and games, with 95 % intervals by a bootstrap within each game.",
            alt="A table: a row per game, a column per arm and baseline.",
            draw=draw_scores,
            experiments=("evolution_curves",),
        ),
        Figure(
            name="virtual-batch-norm-cost",
            title="What the reference pass costs",
            caption="Each policy passes the reference batch once, beside one forward pass for every decision. The share is of the time of "
            "all generations, without measurements.",
            alt="A table: a row per game.",
            draw=draw_cost,
            experiments=("evolution_curves",),
        ),
        Figure(
            name="game-frames",
            title="What policies see",
            caption="Frames of random play, 84 x 84 grey pixels: some of the states on which all policies decide.",
            alt="A row of six small grey frames per game.",
            draw=draw_frames,
            experiments=("policy_diversity",),
        ),
    ),
    in_words=answer_in_words,
)
