"""How the weights of a public AWD-LSTM or ULMFiT classifier, in fastai's layout, are taken over."""

import re
from collections.abc import Mapping

from torch import Tensor

NAMES = (  # fastai's, ours; `module.` stands in classifiers
    (r"0\.(module\.)?encoder\.weight", r"encoder.embedding.weight"),
    (r"0\.(module\.)?rnns\.(\d+)\.weight_hh_l0_raw", r"encoder.layers.\2.weight_hh_l0"),
    (r"0\.(module\.)?rnns\.(\d+)\.module\.((weight_ih|bias_ih|bias_hh)_l0)", r"encoder.layers.\2.\3"),
    (r"1\.decoder\.bias", r"bias"),
    (r"1\.layers\.(\d+)\.0\.(\w+)", r"head.blocks.\1.norm.\2"),
    (r"1\.layers\.(\d+)\.2\.(\w+)", r"head.blocks.\1.linear.\2"),
)
COPIES = r"0\.(module\.)?encoder_dp\.emb\.weight|0\.(module\.)?rnns\.\d+\.module\.weight_hh_l0|1\.decoder\.weight"


def from_fastai_layout(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of a `TextClassifier` with batch norm, or of a `LanguageModel` but for `carried`.

    Raises:
        ValueError: a name is not of that layout.
    """
    found = {}
    for name, tensor in state.items():
        ours = [re.sub(pattern, name_of, name) for pattern, name_of in NAMES if re.fullmatch(pattern, name)]
        if ours:
            found[ours[0]] = tensor
        elif not re.fullmatch(COPIES, name):
            raise ValueError(f"'{name}' is no weight of fastai's AWD-LSTM, nor of its text classifier")
    return found
