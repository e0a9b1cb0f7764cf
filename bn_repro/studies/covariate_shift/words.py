"""Each definition's verdict for each network side by side, and in two sentences what they say together."""

from bn_repro.studies.covariate_shift.claims import GROUPS, NETWORKS
from bn_repro.studies.study import Answers, Rows
from bn_repro.verdicts.judging import Answer
from bn_repro.verdicts.numbers import in_words
from bn_repro.verdicts.rules import INCONCLUSIVE, NOT_REPRODUCED, NOT_RUN, PARTLY, REPRODUCED


def definitions(answers: Answers) -> Rows:
    """Return a row for each definition: what was said before, and each network's verdict."""
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
    return answer.verdict if answer.verdict == NOT_RUN else f"{answer.verdict}, n = {answer.n}"


def answer_in_words(answers: Answers) -> str:
    """Say by how many definitions BN reduces the shift, and what noise after BN does."""
    if all(answer.verdict == NOT_RUN for answer in answers.values()):
        return ""
    counts = f"The inputs of nonlinearities drift {counted(answers, 'drift')}; gradients shift {counted(answers, 'gradient')}."
    noise = "; ".join(
        f"in the {network.name}, with noise after BN, distributions move {in_words(answers[f'ics-noise-drift-{network.suffix}'])} as much "
        f"as without BN, and {ends(answers[f'ics-noise-plain-{network.suffix}'])}"
        for network in NETWORKS
        if answers[f"ics-noise-drift-{network.suffix}"].verdict != NOT_RUN
    )
    noise = f" {noise[0].upper()}{noise[1:]}." if noise else ""
    return f"{counts}{noise}"


def ends(answer: Answer) -> str:
    """Say how far above no BN the accuracy with noise after BN is, or that it is open."""
    if answer.verdict == INCONCLUSIVE:
        return f"whether accuracy ends higher than without BN is undecided, {in_words(answer)}"
    return f"accuracy ends {in_words(answer)} higher than without BN"


def counted(answers: Answers, kind: str) -> str:
    """Say by how many definitions of one kind, over both networks, BN reduces the shift: `less with BN in 3 of 5 comparisons`."""
    assert kind in GROUPS
    asked = [answer for id, answer in answers.items() if id.startswith(f"ics-{kind}-") and answer.verdict != NOT_RUN]
    verdicts = [answer.verdict for answer in asked]
    num_same = sum(answer.verdict == NOT_REPRODUCED and not is_more(answer) for answer in asked)
    others = (
        ("a little less in", verdicts.count(PARTLY)),
        ("more in", sum(map(is_more, asked))),
        ("not noticeably different in", num_same),
        ("undecided in", verdicts.count(INCONCLUSIVE)),
    )
    rest = "".join(f", {words} {number}" for words, number in others if number)
    return f"less with BN in {verdicts.count(REPRODUCED)} of {len(asked)} comparisons{rest}" if asked else "(not run)"


def is_more(answer: Answer) -> bool:
    """Say whether what should be less with BN is more, surely."""
    return answer.high is not None and answer.high < (1 if answer.unit == "x" else 0)
