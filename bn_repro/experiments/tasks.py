"""What a supervised run learns from what: all in which images, language and labelled texts differ."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from bn_repro.data.examples import Examples, TrainingBatches
from bn_repro.training.loop import Evaluation, evaluate

Poll = Callable[[], None]


@dataclass
class Task:
    """Say what learns from what.

    Args:
        network: untrained, or on the encoder of a trained language model.
        batches: this rank's training batches.
        examples: what accuracy is measured on.
        closing_measures: called with the trained network, its mean loss on all examples, and what to call often; returns
            what the summary says beside accuracy.
        evaluate: measures a network on examples, a number of them at a time.
    """

    network: nn.Module
    batches: TrainingBatches
    examples: Examples
    closing_measures: Callable[[nn.Module, float, Poll], dict[str, Any]]
    evaluate: Callable[[nn.Module, Any, Poll, int], Evaluation] = evaluate
