"""What PyTorch calls the steps of the tape, and the values that they show as `_saved_...`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from talweg.base.errors import GradientError

if TYPE_CHECKING:
    from talweg.engine.tape import Step
    from talweg.ir.node import Node

_NAMES = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), "convolution"),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), "convolution"),
    **dict.fromkeys(("reshape", "view_as", "flatten", "unflatten"), "view"),
    "batch_norm": "native_batch_norm",
    "cross_entropy": "nll_loss",
    "group_norm": "native_group_norm",
    "layer_norm": "native_layer_norm",
    "linear": "addmm",
    "matmul": "mm",
    "max_pool2d": "max_pool2d_with_indices",
    "max_pool3d": "max_pool3d_with_indices",
}


def step_name(function: str) -> str:
    """Return PyTorch's name of the step of a function, without its number.

    >>> step_name("add"), step_name("linear"), step_name("max_pool2d")
    ('AddBackward', 'AddmmBackward', 'MaxPool2DWithIndicesBackward')
    """
    plain = function.strip("_")
    words = _NAMES.get(plain, plain).split("_")
    name = "".join(re.sub(r"(\d)d$", r"\1D", w[:1].upper() + w[1:]) for w in words)
    return name if name.endswith("Backward") else f"{name}Backward"


_RESULT = {"result": -1}
_SELF = {"self": 0}
_BOTH = {"self": 0, "other": 1}
_NORM = {"input": 0, "weight": 1}
SAVED: dict[str, dict[str, int]] = {
    **dict.fromkeys(
        (
            *("Exp", "Exp2", "Expm1", "Sqrt", "Rsqrt", "Tanh", "Sigmoid", "Relu", "Reciprocal"),
            *("Tan", "Softmax", "LogSoftmax", "Elu"),
        ),
        _RESULT,
    ),
    **dict.fromkeys(
        (
            *("Log", "Log2", "Log10", "Log1p", "Sin", "Cos", "Abs", "Asin", "Acos", "Atan"),
            *("Sinh", "Cosh", "Erf", "Pow", "Silu", "Gelu", "LeakyRelu", "Softplus", "Clamp"),
        ),
        _SELF,
    ),
    **dict.fromkeys(("Mul", "Div", "Atan2"), _BOTH),
    **dict.fromkeys(("NativeLayerNorm", "NativeBatchNorm", "NativeGroupNorm"), _NORM),
    "Mm": {"self": 0, "mat2": 1},
    "Bmm": {"self": 0, "mat2": 1},
    "Addmm": {"mat1": 0, "mat2": 1},
    "Convolution": {"input": 0, "weight": 1},
    "Embedding": {"indices": 1},
    "MseLoss": {"self": 0, "target": 1},
    "NllLoss": {"self": 0, "target": 1},
}
ORDERS = {"Addmm": (2, 0, 1)}
"""Steps whose operands PyTorch lists in another order: a linear layer's bias comes first."""

FREED = "the saved values of {name} were freed by backward(); call it with retain_graph=True"


class Saved:
    """How a Node becomes a Tensor with a place on the tape; set where Tensors are known.

    Attributes:
        as_tensor: takes a Node and where its gradient goes.
    """

    as_tensor: ClassVar[Callable[[Node, Any], Any]]


def _saved(place: int, step: Step) -> Any:
    if step.released:
        raise GradientError(FREED.format(name=step.name()))
    if place < 0:
        return Saved.as_tensor(step.outputs[0], step)
    inputs = step.inputs
    place = min(place, len(inputs) - 1)  # x * x has one operand
    return Saved.as_tensor(inputs[place], step.edges[place])


def saved_properties(name: str) -> dict[str, property]:
    """Return the properties that show what a step of this name has saved.

    They raise GradientError after a backward pass has freed it.

    >>> list(saved_properties("MulBackward0"))
    ['_saved_self', '_saved_other']
    """
    places = SAVED.get(name.partition("Backward")[0], {})
    return {f"_saved_{word}": property(partial(_saved, at)) for word, at in places.items()}
