"""What several networks are built of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from talweg import nn
from talweg.base.errors import InvalidValue
from talweg.engine.functions import FUNCTIONS
from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn import init

Layer = Callable[..., nn.Module]

cat = FUNCTIONS["cat"]


def untrained(name: str, weights: object) -> None:
    """Refuse to fetch trained weights, and say how a file of them is loaded.

    Raises:
        InvalidValue: unless `weights` is None.
    """
    if weights is not None and weights is not False:
        raise InvalidValue(
            f"{name}: weights={weights!r}: talweg fetches nothing. Download the file of weights, "
            f"then: model = {name}(); model.load_state_dict(tw.load('the file.pth'))"
        )


def divisible(value: float, by: int = 8) -> int:
    """Return the multiple of `by` nearest to a number of channels, not over 10 % below it."""
    rounded = max(by, int(value + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * value else rounded


class ConvNorm(nn.Sequential):
    """A convolution without bias that keeps the size, its normalisation, its activation.

    Args:
        inputs, outputs: numbers of channels.
        kernel_size, stride, groups: of the convolution.
        norm: makes the normalisation.
        activation: makes the activation from `inplace`; None: there is none.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int = 3,
        stride: int = 1,
        groups: int = 1,
        norm: Layer = nn.BatchNorm2d,
        activation: Layer | None = nn.ReLU,
    ) -> None:
        how = {"stride": stride, "padding": (kernel_size - 1) // 2, "groups": groups}
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel_size, bias=False, **how),  # type: ignore[arg-type]
            norm(outputs),
        ]
        super().__init__(*layers, *([activation(inplace=True)] if activation else []))
        self.out_channels = outputs


class SqueezeExcitation(nn.Module):
    """Scale each channel by what two small layers say of all channels' means (Hu et al., 2018).

    Args:
        channels: of the input; kept.
        squeezed: channels between the two layers.
        activation, scale: what follows the first and the second layer.

    Shape: [N, channels, H, W], kept.
    """

    def __init__(
        self,
        channels: int,
        squeezed: int,
        activation: Layer = nn.ReLU,
        scale: Layer = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = activation()
        self.scale_activation = scale()

    def forward(self, input: Tensor) -> Tensor:
        scale = self.activation(self.fc1(self.avgpool(input)))
        out: Tensor = self.scale_activation(self.fc2(scale)) * input
        return out


class StochasticDepth(nn.Module):
    """In training, leave out a residual branch for some examples (Huang et al., 2016).

    Args:
        p: the share of examples without it; the others' branches are scaled by 1 / (1 - p).
        mode: "row": each example for itself; "batch": all or none.
    """

    def __init__(self, p: float, mode: str = "row") -> None:
        super().__init__()
        if mode not in ("row", "batch"):
            raise InvalidValue(f"mode must be 'row' or 'batch', got {mode!r}")
        self.p = p
        self.mode = mode

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return input
        rows = input.shape[0] if self.mode == "row" else 1
        kept = F.dropout(input.new_ones((rows, *(1,) * (input.ndim - 1))), self.p, True)
        return input * kept

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"


def initialise(model: nn.Module, linear: Callable[[nn.Linear], Any]) -> None:
    """Give convolutions He's normal weights (by fan-out), norms 1 and 0, biases 0.

    Args:
        model: changed in place.
        linear: sets the weight of a Linear layer.
    """
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(m, nn.Linear):
            linear(m)
        elif isinstance(m, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            if m.weight is not None:
                init.ones_(m.weight)
        else:
            continue
        if m.bias is not None:
            init.zeros_(m.bias)


def normal_linear(layer: nn.Linear) -> None:
    """Set a Linear layer's weight to normal numbers of deviation 0.01."""
    init.normal_(layer.weight, 0.0, 0.01)


norm_6 = partial(nn.LayerNorm, eps=1e-6)
norm_001 = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
