"""Each definition's verdict for each network side by side, and in two sentences what they say together."""

from bn_repro.studies.covariate_shift.claims import GROUPS, NETWORKS
from bn_repro.studies.study import NO_RUNS, Answers, Rows
from bn_repro.verdicts.judging import Answer
from bn_repro.verdicts.numbers import in_words, with_interval
from bn_repro.verdicts.rules import INCONCLUSIVE, NOT_RUN, PARTLY, REPRODUCED


def definitions(answers: Answers) -> Rows:
    """Return a row for each definition: what was said before, and each network's verdict with its number."""
    first, *others = (network.suffix for network in NETWORKS)
    rows = [("definition", "said before", *(network.name for network in NETWORKS))]
    for id, answer in answers.items():
        if id.startswith("ics-") and id.endswith(f"-{first}"):
            beside = [answers.get(id.removesuffix(first) + suffix) for suffix in others]
            group = answer.group.split(", ", 1)[1]
            rows.append((f"{group}: {answer.says}", answer.paper, *map(in_a_cell, (answer, *beside))))
    return tuple(rows)


def in_a_cell(answer: Answer | None) -> str:
    if answer is None:
        return "not asked"
    return (
        answer.verdict
        if answer.verdict == NOT_RUN
        else f"{answer.verdict}: {with_interval(answer.as_dict())} {answer.unit}, n = {answer.n}"
    )


def answer_in_words(answers: Answers) -> str:
    """Say by how many definitions BN reduces the shift, and what noise after BN does."""
    if all(answer.verdict == NOT_RUN for answer in answers.values()):
        return NO_RUNS
    counts = f"The inputs of nonlinearities drift {counted(answers, 'drift')}; gradients shift {counted(answers, 'gradient')}."
    noise = "; ".join(
        f"in the {network.name} noise after BN moves distributions {in_words(answers[f'ics-noise-drift-{network.suffix}'])} as much as no "
        f"BN does, and ends {in_words(answers[f'ics-noise-plain-{network.suffix}'])} above it"
        for network in NETWORKS
        if answers[f"ics-noise-drift-{network.suffix}"].verdict != NOT_RUN
    )
    noise = f" {noise[0].upper()}{noise[1:]}." if noise else ""
    return f"{counts}{noise}"


def counted(answers: Answers, kind: str) -> str:
    """Say by how many definitions of one kind, over both networks, BN reduces the shift: `less with BN in 3 of 5 comparisons`."""
    assert kind in GROUPS
    verdicts = [answer.verdict for id, answer in answers.items() if id.startswith(f"ics-{kind}-") and answer.verdict != NOT_RUN]
    partly = verdicts.count(PARTLY)
    undecided = verdicts.count(INCONCLUSIVE)
    a_little = f", a little less in {partly}" if partly else ""
    open_ones = f", undecided in {undecided}" if undecided else ""
    return f"less with BN in {verdicts.count(REPRODUCED)} of {len(verdicts)} comparisons{a_little}{open_ones}" if verdicts else "(not run)"
