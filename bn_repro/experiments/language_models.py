"""What a language model's run keeps for classifiers, and whether it fits one: vocabulary, encoder, pooled features."""

import io
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bn_repro.config import Config
from bn_repro.config.text import TextClassifierConfig
from bn_repro.data.text import Texts
from bn_repro.data.vocabulary import PADDING
from bn_repro.networks.awd_lstm import AwdLstm
from bn_repro.networks.text_classifier import concat_pooling, encoded
from bn_repro.norms.modes import evaluating
from bn_repro.records import files
from bn_repro.records.damage import Missing
from bn_repro.records.record import Run
from bn_repro.records.soundness import check_finished

# The knobs in which a classifier has to agree with the run it starts from, by what is wrong otherwise.
AGREED = {
    "its vocabulary is another": ("data.name", "data.validation_size", "data.test_size", "data.training_size", "data.split_seed",
                                  "data.vocabulary_size"),
    "its weights do not fit": ("network.embedding", "network.hidden", "network.num_layers"),
}  # fmt: skip
AGREED_IF_FROZEN = {"its features are of other texts": ("data.max_tokens",)}


def language_model_run(config: Config) -> Run:
    """Return the run that `network.encoder` names.

    Raises:
        ValueError: it is not there, not complete, no language model's, does not fit the classifier, or (`Damaged`) lacks a file
            or has one that is not what it wrote.
    """
    assert isinstance(config.network, TextClassifierConfig) and config.network.encoder is not None
    address, is_frozen = config.network.encoder, config.network.is_frozen
    run = Run(Path(config.results_folder) / address)
    if not run.is_complete:
        experiment = "/".join(address.split("/")[:2])
        raise ValueError(f"network.encoder={address} is no complete run in {config.results_folder}; do experiment={experiment} first")
    if run.config["network.name"] != "language_model":
        raise ValueError(f"network.encoder={address} is a {run.config['network.name']}, not a language_model")
    own = {f"{group}.{name}": value for group in ("data", "network") for name, value in asdict(getattr(config, group)).items()}
    for reason, names in (AGREED | AGREED_IF_FROZEN if is_frozen else AGREED).items():
        for name in names:
            if run.config.get(name) != own[name]:  # of a knob that the run did not know yet, None
                raise ValueError(f"network.encoder={address} has {name}={run.config.get(name)}, not {own[name]}; {reason}")
    if is_frozen and not run.config["network.keeps_features"]:
        raise ValueError(f"network.encoder={address} kept no features; it needs network.keeps_features=true")
    check_finished(run.folder)
    for name in (files.FEATURES,) if is_frozen else (files.WEIGHTS, files.VOCABULARY):
        if not (run.folder / name).exists():
            raise Missing(run.folder / name)
    return run


def load_encoder(encoder: AwdLstm, run: Run) -> None:
    """Take over the weights of a language model's run."""
    from safetensors.torch import load_file

    weights = load_file(run.folder / files.WEIGHTS)
    prefix = "encoder."
    encoder.load_state_dict({name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)})


@torch.no_grad()
def pooled_features(encoder: AwdLstm, texts: Texts, window: int, batch_size: int, poll: Callable[[], None]) -> Tensor:
    """Return what the head of a classifier would see of each text, (N, 3 * features), without dropout."""
    order = texts.starts.diff().argsort()  # texts of like lengths together, so that little is padding
    pooled = []
    with evaluating(encoder):
        for index in order.split(batch_size):
            poll()
            x, _ = texts.at(index)
            pooled.append(concat_pooling(encoded(encoder, x, window), x != PADDING))
    return torch.cat(pooled)[order.argsort()]


def write_features(features: Mapping[str, tuple[Tensor, Tensor]], folder: Path) -> None:
    """Keep (features, labels) of each part of the texts; a half-precision number is exact enough for what is between -1 and 1."""
    buffer = io.BytesIO()
    arrays = {f"{part}/{name}": a for part, pair in features.items() for name, a in zip(("x", "labels"), pair)}
    np.savez(buffer, **{name: (a.half() if a.is_floating_point() else a).cpu().numpy() for name, a in arrays.items()})
    files.write_atomically(folder / files.FEATURES, buffer.getbuffer())


def read_features(run: Run, part: str) -> tuple[Tensor, Tensor]:
    """Return the features (N, 3 * features) and labels (N,) of one part of the texts."""
    with np.load(run.folder / files.FEATURES) as arrays:
        return torch.from_numpy(arrays[f"{part}/x"]).float(), torch.from_numpy(arrays[f"{part}/labels"])
