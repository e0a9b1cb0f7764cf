"""The network of section 4.1: three fully connected hidden layers of 100 sigmoid units on a 28x28 image."""

from torch import Tensor, nn

from bn_repro.networks.normed_layer import NormedLayer, build_nonlinearity
from bn_repro.norms import build_norm, subsumes_bias


class SigmoidMLP(nn.Module):
    """Map images to logits through `depth` hidden layers z = g(BN(W u)) and one affine output layer.

    Args:
        in_features: pixels of an image, all channels.
        keep_bias: keep the bias b before a norm whose beta subsumes it (section 3.2 drops it).
        drop_rate: dropout of what each hidden layer gives (Srivastava et al. 2014).
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        depth: int = 3,
        width: int = 100,
        norm: str = "batch",
        nonlinearity: str = "sigmoid",
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
        keep_bias: bool = False,
        drop_rate: float = 0.0,
    ):
        super().__init__()
        has_bias = keep_bias or not subsumes_bias(norm)
        fans = [in_features, *[width] * depth]
        self.hidden = nn.Sequential(
            *(
                NormedLayer(
                    nn.Linear(fan_in, fan_out, bias=has_bias),
                    build_norm(norm, fan_out, 0, norm_eps, norm_momentum),
                    build_nonlinearity(nonlinearity),
                )
                for fan_in, fan_out in zip(fans, fans[1:])
            )
        )
        self.drop = nn.Dropout(drop_rate)
        self.output = nn.Linear(fans[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:  # (N, ...) -> (N, num_classes)
        x = x.flatten(1)
        for layer in self.hidden:
            x = self.drop(layer(x))
        return self.output(x)
