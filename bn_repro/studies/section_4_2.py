"""What the paper claims of Inception on ImageNet (section 4.2, Figures 2 and 3), to be judged on CIFAR-10."""

from collections.abc import Callable, Sequence

from bn_repro.measures import accuracy
from bn_repro.measures.measures import difference, over_subjects
from bn_repro.studies import sweeps
from bn_repro.verdicts.claim import Claim
from bn_repro.verdicts.rules import Above, Below
from bn_repro.verdicts.selection import sweeps_of
from bn_repro.verdicts.statistics import Estimate

# Figure 3 of the paper: arm, its label, steps to 72.2 % in millions, maximal accuracy in %; None: never, or not run.
FIGURE_3 = (
    ("inception", "Inception", 31.0, 72.2),
    ("bn_baseline", "BN-Baseline", 13.3, 72.7),
    ("bn_x5", "BN-x5", 2.1, 73.0),
    ("bn_x30", "BN-x30", 2.7, 74.8),
    ("bn_x5_sigmoid", "BN-x5-Sigmoid", None, 69.8),
    ("inception_x5", "Inception at x5", None, None),
    ("inception_x30", "Inception at x30", None, None),
    ("inception_sigmoid", "Inception with sigmoid", None, 0.1),
)
LABELS = {arm: label for arm, label, _, _ in FIGURE_3}


def figure_2(suffix: str, where: str, experiment: str, has_sigmoids: bool) -> Sequence[Claim]:
    """List the claims of Figures 2 and 3 for one base learning rate, whose arms are those of one experiment."""

    def claim(id: str, statement: str, paper: str, unit: str, arms: tuple[str, str], measure, rule, control: str | None = None) -> Claim:
        reference, subject = (f"{experiment}/{arm}" for arm in arms)
        # Unless it has a control of its own, plain networks stand for both arms, those of other seeds for the subject.
        controls = (control, None) if control else (f"{experiment}_control/inception", f"{experiment}/inception")
        return Claim(f"{id}-{suffix}", "4.2", f"{statement} ({where})", paper, unit, reference, subject, measure, rule, *controls)

    claims = [
        claim(
            f"fig2-steps-{arm}",
            f"{LABELS[arm]} needs fewer steps to Inception's best accuracy",
            f"{ratio:g} x fewer",
            "x",
            ("inception", arm),
            accuracy.speedup_to_best,
            Above(1, ratio),
        )
        for arm, ratio in (("bn_baseline", 2.3), ("bn_x5", 14.8), ("bn_x30", 11.5))
    ]
    order = ("inception", "bn_baseline", "bn_x5", "bn_x30")
    claims += [
        claim(
            f"fig3-best-{above}",
            f"{LABELS[above]} reaches a higher best accuracy than {LABELS[below]}",
            f"higher ({gain:g} points)",
            "percentage points",
            (below, above),
            difference(accuracy.best_accuracy),
            Above(0),
        )
        for below, above, gain in zip(order, order[1:], (0.5, 0.3, 1.8))
    ]
    failures = (
        ("infinity-x5", 5, "loss leaves the finite numbers", "machine infinity", accuracy.reached_infinity),
        ("fails-x5", 5, "training fails (infinite, or at chance)", "machine infinity", accuracy.failed_to_train),
        ("fails-x30", 30, "training fails (infinite, or at chance)", "not run", accuracy.failed_to_train),
    )
    claims += [
        claim(
            f"fig2-{id}",
            f"Without BN at {factor} times the learning rate, the {what}",
            paper,
            "of the seeds",
            (f"inception_x{factor}",) * 2,
            accuracy.share_of_seeds(measure),
            Above(0.5),
            f"{experiment}/bn_x{factor}",
        )
        for id, factor, what, paper, measure in failures
    ]
    if has_sigmoids:
        claims += [
            claim(
                "fig2-sigmoid-bn",
                "Inception with sigmoid trains with BN",
                "69.8 %, chance 0.1 %",
                "% at best, chance 10 %",
                ("bn_x5_sigmoid",) * 2,
                over_subjects(accuracy.best_accuracy),
                Above(200 * accuracy.CHANCE),
                f"{experiment}/inception_sigmoid",
            ),
            claim(
                "fig2-sigmoid-plain",
                "... and stays at chance without",
                "at chance",
                "% at best, chance 10 %",
                ("inception_sigmoid",) * 2,
                over_subjects(accuracy.best_accuracy),
                Below(110 * accuracy.CHANCE, 150 * accuracy.CHANCE),
                f"{experiment}/bn_x5_sigmoid",
            ),
        ]
    return claims


def learning_rates(suffix: str, network: str, experiment: str) -> Sequence[Claim]:
    """List what the sweep of learning rates says of one network."""
    rows: tuple[tuple[str, str, str, str, Callable[..., Estimate], Above], ...] = (
        ("range", "can use larger learning rates", "larger (x30 trains; without BN x5 does not)", "x", sweeps.usable_ratio, Above(1)),
        (
            "best",
            "ends with the higher accuracy, each at its best learning rate",
            "higher",
            "percentage points",
            sweeps.difference_at_best_lr,
            Above(0),
        ),
    )
    return [
        Claim(
            f"lr-{id}-{suffix}", "4.2.1", f"{network} with BN {statement}", paper, unit,
            f"{experiment}/none", f"{experiment}/batch", measure, rule, f"{experiment}_control/none", select=sweeps_of,
        )
        for id, statement, paper, unit, measure, rule in rows
    ]  # fmt: skip


SECTION_4_2: tuple[Claim, ...] = (
    *figure_2("best", "base: the best learning rate without BN", "inception", has_sigmoids=True),
    *figure_2("paper", "base: the paper's 0.0015", "inception_paper_lr", has_sigmoids=False),
    *learning_rates("mlp", "The sigmoid network", "lr_sweep"),
    *learning_rates("inception", "A small Inception", "lr_sweep_inception"),
)
