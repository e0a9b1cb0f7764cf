"""What a run of the bag-of-words baseline is: a fit for each penalty, of which the best on validation texts counts; else as any run."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bn_repro.baselines.bag_of_words import predictions
from bn_repro.checks.runs import check
from bn_repro.config import Config
from bn_repro.config.text import BagOfWordsConfig, TextDataConfig
from bn_repro.data.reviews import labelled
from bn_repro.data.text import load_reviews
from bn_repro.experiments.environment import environment
from bn_repro.experiments.resuming import finished_summary, forget_unfounded_summary
from bn_repro.experiments.run import Report
from bn_repro.experiments.tracking import Mirror
from bn_repro.records.record import FINISHED, address_of, run_folder
from bn_repro.records.writing import RunWriter
from bn_repro.training.loop import Interrupted


def run(config: Config, report: Report = lambda *_: None, is_stopping: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Do one run, or return the summary of the complete one; a step is a fit, and an interrupted run starts anew.

    Raises:
        ValueError: the config cannot be meant, or the folder holds a run of another config.
        RunBusy: another process is at it.
        Interrupted: `is_stopping` said so.
    """
    check(config)
    complete = finished_summary(config)
    if complete:
        return complete
    writer = RunWriter(run_folder(config))
    try:
        complete = finished_summary(config)  # once more: another process may have held the folder till now
        if complete:
            return complete
        forget_unfounded_summary(config)
        writer.begin(dataclasses.asdict(config), environment(torch.device("cpu")))
        writer.rewind(0)
        mirror = Mirror(config.wandb, address_of(config), dataclasses.asdict(config))
        try:
            return _fit_and_measure(config, writer, mirror, report, is_stopping)
        finally:
            mirror.finish(None)
    finally:
        writer.close()


def _fit_and_measure(config: Config, writer: RunWriter, mirror: Mirror, report: Report, is_stopping: Callable[[], bool]) -> dict[str, Any]:
    started, data, network = time.monotonic(), config.data, config.network
    assert isinstance(data, TextDataConfig) and isinstance(network, BagOfWordsConfig)
    penalties = network.penalties
    reviews, num_dropped = load_reviews(data)
    training = reviews["training"].take(labelled(reviews["training"].labels, data.num_labels, config.seed))
    asked = [reviews["validation"], reviews[data.evaluate_on]]
    best, accuracy, is_correct = -1.0, None, np.empty(0, bool)
    fits = predictions(training.texts, training.labels, [part.texts for part in asked], network.max_words, penalties)
    for step, penalty in enumerate(penalties):
        report(step, len(penalties), accuracy)
        if is_stopping():
            raise Interrupted
        on_validation, on_asked = (predicted == part.labels for predicted, part in zip(next(fits), asked))
        row = {"step": step + 1, "penalty": penalty, "accuracy": on_validation.mean().item()}
        writer.append(row)
        mirror.log(row)
        if row["accuracy"] > best:
            best, chosen, is_correct = row["accuracy"], penalty, on_asked
            accuracy = on_asked.mean().item()
    summary = {
        "status": FINISHED,
        "steps": len(penalties),
        "first_bad_step": None,
        "accuracy": accuracy,
        "penalty": chosen,
        "num_test_images": len(is_correct),
        "num_training_texts": len(training),
        "num_dropped_texts": num_dropped,
        "seconds": round(time.monotonic() - started, 1),
    }
    writer.keep_correct(is_correct)
    writer.finish(summary)
    mirror.finish(summary)
    return summary
