"""How much does BN gain at every learning rate and initial deviation: where nothing, where 14 times, where all? (abstract, 4.1)"""

from collections.abc import Callable

from bn_repro.studies.initialization.figures import draw_accuracies, draw_maps
from bn_repro.studies.initialization.measures import (
    INCEPTION,
    SIGMOID,
    MapPairs,
    at_best_points,
    largest_rate,
    largest_speedup,
    range_of_scales,
    speedup_where_plain_is_fastest,
    usable_area,
)
from bn_repro.studies.study import Answers, Figure, Study
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.numbers import in_words
from bn_repro.verdicts.rules import NOT_RUN, Above
from bn_repro.verdicts.selection import maps_of
from bn_repro.verdicts.statistics import Sample

PAPER_FACTOR = 14  # "the same accuracy with 14 times fewer training steps", abstract


Measure = Callable[[MapPairs], Sample]


def of_map(
    id: str,
    says: str,
    paper: str,
    unit: str,
    measure: Measure,
    rule: Above,
    headline: str = "",
    after_look: str = "",
    experiment: str = SIGMOID,
) -> Claim:
    return Claim(
        id=f"map-{id}",
        section="4.1" if experiment == SIGMOID else "4.2",
        says=says,
        paper=paper,
        unit=unit,
        reference=f"{experiment}/none",
        subject=f"{experiment}/batch",
        select=maps_of,
        measure=measure,
        rule=rule,
        headline=headline,
        after_look=after_look,
    )


def answer_in_words(answers: Answers) -> str:
    fastest, most, area = (in_words(answers[f"map-{id}"]) for id in ("fastest", "most", "area"))
    inception = answers["map-inception-area"]
    of_inception = "" if inception.verdict == NOT_RUN else f", in the small Inception at {in_words(inception)}"
    return (
        f"In the sigmoid network BN needs {fastest} fewer steps to 90 % of the test images at the point where the plain one is "
        f"fastest, and {most} at the point where BN gains most of those where both arrive. "
        f"It trains at {area} as many points of the map{of_inception}."
    )


STUDY = Study(
    name="initialization",
    title="The map of learning rate and initialization",
    sections="4.1, 4.2",
    question="How many times fewer steps does BN need at each learning rate and initial deviation, and where does it alone train?",
    experiments=(SIGMOID, INCEPTION),
    claims=(
        of_map(
            id="fastest",
            says="Where the plain network is fastest, BN needs fewer steps to 90 %",
            paper="14 x fewer (Inception)",
            unit="x",
            measure=speedup_where_plain_is_fastest,
            rule=Above(1, PAPER_FACTOR),
        ),
        of_map(
            id="most",
            says="Where BN gains most and both arrive, it needs 14 times fewer steps to 90 %",
            paper="14 x fewer (Inception)",
            unit="x",
            measure=largest_speedup,
            rule=Above(1, PAPER_FACTOR),
        ),
        of_map(
            id="area",
            says="BN trains at more points of learning rate and deviation",
            paper="less careful",
            unit="x",
            measure=usable_area,
            rule=Above(1, 1.25),
            headline="Map: more rates and initializations train",
            after_look="It replaces the range of deviations in the first table, which cannot differ: both arms train at every deviation.",
        ),
        of_map(
            id="lr",
            says="The largest usable learning rate is higher with BN",
            paper="much higher",
            unit="x",
            measure=largest_rate,
            rule=Above(1, 3),
        ),
        of_map(
            id="std",
            says="BN trains over a wider range of initial deviations",
            paper="less careful",
            unit="x",
            measure=range_of_scales,
            rule=Above(1, 3),
        ),
        of_map(
            id="best",
            says="Each at its best point, BN ends higher",
            paper="higher",
            unit="points",
            measure=at_best_points,
            rule=Above(0, 0.2),
        ),
        of_map(
            id="inception-area",
            says="The small Inception trains with BN at more points of learning rate and deviation",
            paper="less careful",
            unit="x",
            measure=usable_area,
            rule=Above(1, 1.25),
            experiment=INCEPTION,
        ),
        of_map(
            id="inception-std",
            says="The small Inception trains with BN over a wider range of initial deviations",
            paper="less careful",
            unit="x",
            measure=range_of_scales,
            rule=Above(1, 3),
            experiment=INCEPTION,
        ),
    ),
    figures=(
        Figure(
            name="map",
            title="The sigmoid network over learning rate and initial deviation",
            caption="Steps to 90 % test accuracy, the median over seeds, ∞ where it is never reached; and BN's speed-up: ∞ where BN alone "
            "arrives, 0 where only the plain network does, blank where neither does. Solid lines: the edge of the usable points, which end "
            "at least halfway from chance to the best without BN; on the right, of any gain. Broken line: of 14 times, the paper's.",
            alt="Three heat maps over learning rate and initial deviation: steps without BN in a small region, steps with BN in a larger "
            "one, and the speed-up, which grows from 1 inside the first to infinite outside.",
            draw=draw_maps,
            experiments=(SIGMOID,),
        ),
        Figure(
            name="map-inception",
            title="The small Inception over learning rate and initial deviation",
            caption="Final test accuracy after 600 steps, means over seeds; a run that diverged counts as chance. Deviations are "
            "multiples of those of He et al. 2015. Lines: the edge of the usable points, which end at least halfway from chance to the "
            "best without BN.",
            alt="Two heat maps over learning rate and initial deviation: accuracy without BN, and with.",
            draw=draw_accuracies,
            experiments=(INCEPTION,),
        ),
    ),
    in_words=answer_in_words,
)
