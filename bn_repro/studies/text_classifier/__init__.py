"""Does BN in the head of a text classifier help? (Howard & Ruder 2018, who use it; nobody has published it against without)"""

import math

from bn_repro.studies.study import Answers, Figure, Study
from bn_repro.studies.text_classifier.figures import (
    draw_inputs,
    draw_rates,
    draw_steps,
    tabulate_drift,
    tabulate_heads,
    tabulate_language_model,
)
from bn_repro.studies.text_classifier.measures import accuracy_gain, at_best_rate, usable_ratio
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.numbers import gains, in_words, turned
from bn_repro.verdicts.rules import NOT_RUN, Above
from bn_repro.verdicts.selection import sweeps_of

SECTION = "ULMFiT"
NOT_PUBLISHED = "not published"  # so the size is the least that would matter
LEAST_GAIN, LEAST_RATIO = 0.5, 3.0  # percentage points; learning rates
WITHOUT_NORM = (
    ("", "than without a norm", "none"),
    ("-standardized", "than without a norm on features that were standardized once", "head_standardized"),
    ("-long", "than with neither norm nor dropout, trained twice as long", "head_long"),
)
HEADS = (("100", "100 labels", "text_head_100"), ("1000", "1,000 labels", "text_head"), ("all", "all labels", "text_head_all"))


def gain(id: str, says: str, experiment: str, reference: str = "", group: str = "") -> Claim:
    """Claim that the head with BN is more accurate than another, each at its best learning rate of those that were tried."""
    without_norm = f"{experiment}/none"
    reference = reference or without_norm
    return Claim(
        id=f"text-{id}",
        section=SECTION,
        group=group,
        says=says,
        paper=NOT_PUBLISHED,
        unit="points",
        reference=reference,
        subject=f"{experiment}/batch",
        control=without_norm if reference == without_norm else None,
        select=at_best_rate,
        measure=accuracy_gain,
        rule=Above(0, LEAST_GAIN),
    )


def rates(suffix: str, words: str, experiment: str) -> Claim:
    return Claim(
        id=f"text-rates-{suffix}",
        section=SECTION,
        says=f"Frozen encoder, {words}: BN in the head makes larger learning rates usable",
        paper=NOT_PUBLISHED,
        unit="x",
        reference=f"{experiment}/none",
        subject=f"{experiment}/batch",
        control=f"{experiment}/none",
        select=sweeps_of,
        measure=usable_ratio,
        rule=Above(1, LEAST_RATIO),
        after_look="Tier quick, 1,000 labels, was REPRODUCED at 10 x. Now it is open where the best head without a norm is below 60 %.",
    )


def answer_in_words(answers: Answers) -> str:
    """Say what BN gains on a frozen encoder and, where there are runs of it, by fine-tuning."""
    if answers["text-accuracy-1000"].verdict == NOT_RUN:
        return ""
    over_plain, over_standardized, rates = (answers[f"text-{id}"] for id in ("accuracy-1000", "accuracy-1000-standardized", "rates-1000"))
    frozen = (
        f"On a frozen encoder and 1,000 labels BN in the head {gains(over_plain)}; against a head without a "
        f"norm on features that were standardized once it {gains(over_standardized)}."
    )
    if rates.estimate is not None and math.isfinite(rates.estimate):
        frozen += (
            f" With BN, learning rates up to {in_words(rates)} as large are usable: heads get at least halfway from chance to the best "
            "without a norm."
        )
    tuned, words = answers["text-accuracy-tuned"], answers["text-words-tuned"]
    if NOT_RUN in (tuned.verdict, words.verdict):
        return frozen
    beside = f"ahead of a logistic regression on words by {in_words(words)}"
    if words.estimate is not None and words.estimate < 0:
        beside = f"behind a logistic regression on words by {in_words(turned(words))}"
    return f"{frozen} Fine-tuned it {gains(tuned)}, and is then {beside}."


STUDY = Study(
    name="text_classifier",
    title="ULMFiT's classifier of texts",
    sections=SECTION,
    question="Does BN in the head of a text classifier raise accuracy, and make larger learning rates usable?",
    experiments=(
        "text_language_model",
        *(experiment for _, _, experiment in HEADS),
        "text_fine_tuning",
        "text_fine_tuning_all",
        "text_bag_of_words",
    ),
    claims=(
        *(
            gain(
                f"accuracy-{suffix}{of_arm}",
                says,
                experiment,
                reference=f"{experiment}/{arm}",
                group=f"Frozen encoder, {words}: BN in the head is more accurate, each at its best learning rate",
            )
            for suffix, words, experiment in HEADS
            for of_arm, says, arm in WITHOUT_NORM
        ),
        *(rates(suffix, words, experiment) for suffix, words, experiment in HEADS),
        gain(
            "accuracy-tuned",
            "Fine-tuned, 1,000 labels: BN in the head raises accuracy, each at its best learning rate",
            "text_fine_tuning",
        ),
        gain(
            "accuracy-tuned-all",
            "Fine-tuned, all labels: BN in the head raises accuracy, each at its best learning rate",
            "text_fine_tuning_all",
        ),
        gain(
            "words-tuned",
            "Fine-tuned, 1,000 labels: with BN more accurate than the bag of words, which reads whole reviews",
            "text_fine_tuning",
            reference="text_bag_of_words/words_1000",
        ),
        gain(
            "words-tuned-all",
            "Fine-tuned, all labels: with BN more accurate than the bag of words, which reads whole reviews",
            "text_fine_tuning_all",
            reference="text_bag_of_words/words_all",
        ),
    ),
    figures=(
        Figure(
            name="text-rates",
            title="Accuracy of the head against learning rate, with norms and without",
            caption="Final test accuracy on IMDB reviews. Lines are means over seeds, bands run from the lowest to the highest seed; a run "
            "that diverged counts as chance. Dotted, where it ran: logistic regression on tf-idf of words and pairs of words, on as many "
            "labels.",
            alt="A panel for each number of labels: accuracy over learning rates of heads with norms and without one.",
            draw=draw_rates,
            experiments=(*(experiment for _, _, experiment in HEADS), "text_fine_tuning", "text_bag_of_words"),
        ),
        Figure(
            name="text-heads",
            title="What each head reaches, and how soon",
            caption="Each head at its best learning rate, which each seed takes from the others; means over seeds with 95 % intervals. "
            "Steps are to nine tenths of the way from chance to where the head without a norm ends, - where not every seed arrives. The "
            "lowest rate of the frozen heads' grid is 0.0003.",
            alt="A table: a row for each number of labels and head.",
            draw=tabulate_heads,
            experiments=(*(experiment for _, _, experiment in HEADS), "text_fine_tuning", "text_bag_of_words"),
        ),
        Figure(
            name="text-steps",
            title="Steps to an accuracy, with norms and without",
            caption="Test accuracy while heads train on the frozen encoder, each arm at its best learning rate. Lines are means over "
            "seeds, bands run from the lowest to the highest. With BN by moving averages, which lag behind in the first steps.",
            alt="A panel for each number of labels: accuracy over steps of heads with BN, with layer norm and without a norm.",
            draw=draw_steps,
            experiments=tuple(experiment for _, _, experiment in HEADS),
        ),
        Figure(
            name="text-inputs",
            title="What the head reads while the encoder below it is fine-tuned",
            caption="The 15, 50 and 85 percentiles, over a fixed batch of test texts, of what enters the head's two layers, before the "
            "norm. Each arm at its best learning rate; lines are means over seeds, bands run from the lowest to the highest.",
            alt="Two panels of three percentile curves over steps, without BN dashed and with BN solid.",
            draw=draw_inputs,
            experiments=("text_fine_tuning",),
        ),
        Figure(
            name="text-drift",
            title="How far what the head reads moves while the encoder below it is fine-tuned",
            caption="Kolmogorov-Smirnov distance of what enters the head's two layers, before the norm, to its distribution at the end, "
            "mean over the records and, with 95 % intervals, over seeds. Each arm at its best learning rate.",
            alt="A table of two rows, without BN and with, and two layers.",
            draw=tabulate_drift,
            experiments=("text_fine_tuning",),
        ),
        Figure(
            name="text-perplexity",
            title="How well the language model predicts the next token",
            caption="Perplexity on validation reviews, the last tokens of long ones, in tokens of its vocabulary. Where trigrams have the "
            "lower one, the encoder is weak, and so are heads on it beside a bag of words.",
            alt="Three rows: the language model, trigrams and unigrams with their perplexities.",
            draw=tabulate_language_model,
            experiments=("text_language_model",),
        ),
    ),
    in_words=answer_in_words,
)
