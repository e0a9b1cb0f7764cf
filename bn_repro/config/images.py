"""The knobs of images, and of the networks that see them."""

from dataclasses import dataclass

from bn_repro.config import INITS, MOST, NONLINEARITIES, STEMS, Config, DataConfig, NetworkConfig, knob


@dataclass
class ImageDataConfig(DataConfig):
    image_size: int | None = knob(
        "side of the square to which images of a folder are cropped; null of images in memory", low=32, high=1_024, unit="pixels"
    )
    colour_jitter: float = knob(
        "most by which brightness, contrast and saturation of colour training images change, as a factor", low=0, high=1
    )
    workers: int = knob(
        "processes that decode images of a folder; 0 decodes in the training process",
        low=0,
        high=128,
        unit="processes",
        changes_result=False,
    )
    binarize_at: float | None = knob("grey level in [0, 1) above which a pixel is 1; null keeps grey", low=0, below=1)
    crop_padding: int = knob("pixels by which training images are shifted at most", low=0, high=1_024, unit="pixels")
    has_flips: bool = knob("mirror training images at random")
    is_reshuffled: bool = knob("draw a new order of the training images each epoch; false repeats the first, so that batches stay")
    evaluate_training: int | None = knob(
        "the first so many training images, neither shifted nor mirrored, whose accuracy the last measurement takes too; null takes none",
        low=1,
        high=MOST,
        unit="examples",
    )
    kept_predictions: int | None = knob(
        "the first so many evaluated images of which the record keeps the trained network's probabilities; null keeps none",
        low=1,
        high=MOST,
        unit="examples",
    )
    crop_scales: list[int] = knob(
        "shorter sides to which these are resampled for crops, whose mean probabilities are kept too; [] takes no crops",
        low=1,
        high=4_096,
        unit="pixels",
    )


@dataclass
class ImageNetworkConfig(NetworkConfig):
    nonlinearity: str = knob("the nonlinearity g", choices=NONLINEARITIES)
    init: str = knob("distribution of the initial weights", choices=INITS)
    init_std: float | None = knob("standard deviation of gaussian initial weights; null with another init", above=0)
    init_gain: float = knob("factor of the standard deviation of he's and xavier's initial weights", above=0)


@dataclass
class SigmoidMLPConfig(ImageNetworkConfig):
    depth: int = knob("number of hidden layers", low=1, high=1_000_000, unit="layers")
    width: int = knob("units of a hidden layer", low=1, high=1_000_000, unit="units")
    keep_bias: bool = knob("keep the bias that the norm's beta subsumes")
    drop_rate: float = knob("dropout of what each hidden layer gives", low=0, below=1)


@dataclass
class InceptionConfig(ImageNetworkConfig):
    stem: str = knob("what stands before the modules", choices=STEMS)
    stem_stride: int = knob("stride of the first convolution", low=1, high=16, unit="pixels")
    width: float = knob("factor of all numbers of filters", above=0, high=16)
    projection_4c_4d: int = knob(
        "filters of the pool projection of 4c and 4d: 128 as printed, 96 to match the printed outputs", low=8, high=1_024, unit="filters"
    )
    has_lrn: bool = knob("local response normalization in the stem")
    drop_rate: float = knob("dropout before the classifier", low=0, below=1)
    per_activation_size: int | None = knob(
        "side of the maps of module 5b, if its norms take each activation by itself", low=1, high=1_024, unit="pixels"
    )
    merge_reductions: bool = knob("run the 1x1 convolutions of one input as one")


def of_images(config: Config) -> tuple[ImageDataConfig, ImageNetworkConfig]:
    """Return the data and the network of a training on images."""
    assert isinstance(config.data, ImageDataConfig) and isinstance(config.network, ImageNetworkConfig)
    return config.data, config.network
