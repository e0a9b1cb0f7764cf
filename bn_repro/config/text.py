"""The knobs of texts, and of the networks that read them."""

from dataclasses import dataclass

from bn_repro.config import MOST, DataConfig, NetworkConfig, knob


@dataclass
class TextDataConfig(DataConfig):
    validation_size: int = knob("texts set apart for validation", low=1, high=MOST, unit="texts")
    test_size: int = knob("texts set apart for testing", low=1, high=MOST, unit="texts")
    training_size: int | None = knob(
        "training texts, of those that are not set apart, drawn by split_seed; null takes all", low=1, high=MOST, unit="texts"
    )
    num_labels: int | None = knob(
        "labelled training texts, drawn by the run's seed, as many of each class; null takes all", low=2, high=MOST, unit="texts"
    )
    vocabulary_size: int = knob("tokens that texts are read as", low=300, high=1_000_000, unit="tokens")
    max_tokens: int = knob(
        "last tokens of a text that are read; of a longer one the beginning is not", low=2, high=1_000_000, unit="tokens"
    )


@dataclass
class BagOfWordsConfig(NetworkConfig):
    """A baseline that is no network; of `train` it uses nothing."""

    max_words: int = knob("words in a row that count as one feature, at most", low=1, high=10, unit="words")
    penalties: list[float] = knob("strengths of the L2 penalty, of which the best on validation texts counts", above=0)

    def check(self, data: TextDataConfig) -> None:
        """Refuse what would be without effect, and no choice of penalties.

        Raises:
            ValueError: one line.
        """
        if self.norm != "none":
            raise ValueError(f"network.norm={self.norm} has no effect on network.name={self.name}")
        if not self.penalties:
            raise ValueError("network.penalties=[] leaves nothing to choose from")


@dataclass
class AwdLstmConfig(NetworkConfig):
    embedding: int = knob("features of a token and of the last layer", low=1, high=100_000, unit="features")
    hidden: int = knob("features of the layers between", low=1, high=100_000, unit="features")
    num_layers: int = knob("LSTM layers", low=1, high=1_000, unit="layers")
    window: int = knob("tokens between two truncations of backpropagation", low=1, high=1_000_000, unit="tokens")
    embedding_drop: float = knob("dropout of whole tokens' embeddings", low=0, below=1)
    input_drop: float = knob("dropout of the first layer's inputs, one mask a text", low=0, below=1)
    weight_drop: float = knob("dropout of hidden-to-hidden weights", low=0, below=1)
    hidden_drop: float = knob("dropout between layers, one mask a text", low=0, below=1)


@dataclass
class LanguageModelConfig(AwdLstmConfig):
    output_drop: float = knob("dropout of the last layer's outputs, one mask a text", low=0, below=1)
    activation_penalty: float = knob("weight in the loss of the outputs' mean square (alpha)", low=0)
    temporal_penalty: float = knob("weight in the loss of the mean square of the outputs' change from token to token (beta)", low=0)
    keeps_features: bool = knob("keep the pooled outputs of all texts with the trained run, for classifiers on a frozen encoder")

    def check(self, data: TextDataConfig) -> None:
        """Refuse knobs that would be without effect.

        Raises:
            ValueError: one line.
        """
        for name, value, off in (("network.norm", self.norm, "none"), ("data.num_labels", data.num_labels, None)):
            if value != off:
                raise ValueError(f"{name}={value} has no effect on network.name={self.name}")


@dataclass
class TextClassifierConfig(AwdLstmConfig):
    encoder: str | None = knob("<experiment>/<tier>/<name> of the language model's run to start from; null starts from random weights")
    is_frozen: bool = knob("leave the encoder as it is, without dropout, and train the head on its kept features")
    is_standardized: bool = knob("give the head of a frozen encoder features of mean 0 and variance 1 over its training texts")
    head_width: int = knob("units between the head's two linear layers", low=1, high=1_000_000, unit="units")
    head_drops: list[float] = knob("dropout before each of them", low=0, below=1)

    @property
    def has_layer_groups(self) -> bool:
        return not self.is_frozen

    def check(self, data: TextDataConfig) -> None:
        """Refuse a frozen encoder that is none, features to standardize that are none, and a head that is not two layers.

        Raises:
            ValueError: one line.
        """
        if self.is_frozen and self.encoder is None:
            raise ValueError("network.is_frozen=true needs network.encoder, the run of a language model")
        if self.is_standardized and not self.is_frozen:
            raise ValueError("network.is_standardized=true needs network.is_frozen=true")
        if self.encoder is not None and self.encoder.count("/") != 2:
            raise ValueError(f"network.encoder={self.encoder} is no run; give <experiment>/<tier>/<name>")
        if len(self.head_drops) != 2:
            raise ValueError(f"network.head_drops={self.head_drops} must be two numbers, one for each linear layer")
