"""What older versions of PyTorch had: Variable, typed constructors, names without underscore."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DeviceError, IndexOutOfRange
from talweg.base.shapes import Size
from talweg.engine import creation
from talweg.engine.conversion import LEGACY_NAMES
from talweg.engine.gradcheck import gradcheck
from talweg.engine.tensor import Tensor, detached
from talweg.nn import functional as F
from talweg.nn import init, utils
from talweg.nn.conv import _ConvBase
from talweg.nn.normalization import _Running


class _VariableMeta(type):
    def __call__(cls, data: Any = None, requires_grad: Any = False, volatile: Any = None) -> Tensor:
        read_as_before()
        made = creation.zeros(0) if data is None else detached(creation.as_tensor(data))
        made.requires_grad = bool(requires_grad)
        return made

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_VariableMeta):
    """A Tensor: `Variable(data, requires_grad=False)` reads the memory of `data`.

    `volatile=True` is accepted; `no_grad` does today what it did. From the first Variable on, all
    Tensors of the process read as they once did, see `read_as_before`.

    >>> from talweg.frontends.torch.autograd import Variable
    >>> Variable(tw.ones(2), requires_grad=True)
    tensor([1., 1.], requires_grad=True)
    """


class _TypeMeta(type):
    dtype: DType
    place: str

    def __call__(cls, *data: Any) -> Tensor:
        if cls.place != "cpu":
            raise DeviceError(f"{cls} is not available; this machine offers: cpu")
        return typed(cls.dtype, *data)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and (cls.place == "cpu" and instance.dtype is cls.dtype)

    def __repr__(cls) -> str:
        return f"<class '{cls}'>"

    def __str__(cls) -> str:
        return f"torch.{'' if cls.place == 'cpu' else f'{cls.place}.'}{cls.__name__}"


def typed(dtype: DType, *data: Any) -> Tensor:
    """Return a Tensor of data, or of sizes: `LongTensor([1, 2])`, `LongTensor(2, 3)`.

    Args:
        dtype: of the result.
        data: one sequence, array or Tensor, which is converted; or the sizes of a Tensor of zeros.
    """
    if len(data) == 1 and not isinstance(data[0], int | np.integer):
        only = data[0]
        if isinstance(only, Size):
            return creation.zeros(only, dtype=dtype)
        if isinstance(only, Tensor):
            return detached(only.to(dtype))
        return creation.tensor(only if hasattr(only, "__len__") else list(only), dtype)
    return creation.zeros(*(data or (0,)), dtype=dtype)


def _constructors(place: str) -> dict[str, type]:
    return {
        name: _TypeMeta(
            name,
            (),
            {
                "dtype": dtypes.BY_NAME[dtype],
                "place": place,
                "__doc__": f"Makes Tensors of {dtype}, of data or sizes; their type, too.",
                "__module__": "torch",
            },
        )
        for dtype, name in LEGACY_NAMES.items()
    }


CPU_TYPES = _constructors("cpu")
GPU_TYPES = _constructors("cuda")


def set_default_tensor_type(t: Any) -> None:
    """Set the dtype of new floating Tensors, by the name of a type such as `torch.DoubleTensor`."""
    found: Any = CPU_TYPES[t.rpartition(".")[2]] if isinstance(t, str) else t
    creation.set_default_dtype(found.dtype)


def _in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    def called(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    called.__name__ = function.__name__.removesuffix("_")
    called.__doc__ = f"`{function.__name__}`, under its older name."
    return called


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Return the input enlarged, each place taking the nearest value."""
    made: Tensor = F.interpolate(input, size, scale_factor, mode="nearest")
    return made


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Return the input enlarged by straight lines between the corners."""
    made: Tensor = F.interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
    return made


_plain_getitem = Tensor.__getitem__


def getitem(self: Tensor, key: Any) -> Any:
    """Return a part of the Tensor; `x[0]` of a 0-d Tensor is its number, as it once was."""
    try:
        return _plain_getitem(self, key)
    except IndexOutOfRange:
        if self.ndim == 0 and key == 0:
            return self.item()
        raise


def read_as_before() -> None:
    """Let Tensors read as programs with Variables read them: `loss.data[0]`, `x.volatile`."""
    setattr(Tensor, "__getitem__", getitem)  # noqa: B010
    setattr(Tensor, "volatile", False)  # noqa: B010


def _older_init() -> dict[str, Callable[..., Any]]:
    names: Sequence[str] = (
        *("uniform", "normal", "constant", "eye", "dirac", "xavier_uniform", "xavier_normal"),
        *("kaiming_uniform", "kaiming_normal", "orthogonal", "sparse"),
    )
    return {name: _in_place(getattr(init, f"{name}_")) for name in names}


def _ntuple(count: int, name: str = "parse") -> Callable[[Any], tuple[Any, ...]]:
    def parse(value: Any) -> tuple[Any, ...]:
        several = isinstance(value, Iterable) and not isinstance(value, str)
        return tuple(value) if several else (value,) * count

    return parse


_TUPLES = ("_single", "_pair", "_triple", "_quadruple")

MODULES: dict[str, dict[str, Any]] = {
    "": {**CPU_TYPES, "set_default_tensor_type": set_default_tensor_type},
    "autograd": {"Variable": Variable, "gradcheck": gradcheck},
    "autograd.variable": {"Variable": Variable},
    "cuda": GPU_TYPES,
    "nn.functional": {
        "upsample_nearest": upsample_nearest,
        "upsample_bilinear": upsample_bilinear,
    },
    "nn.modules.batchnorm": {"_NormBase": _Running},
    "nn.modules.conv": {"_ConvNd": _ConvBase},
    "nn.modules.utils": {
        "_ntuple": _ntuple,
        **{name: _ntuple(n) for n, name in enumerate(_TUPLES, 1)},
    },
    "nn.init": _older_init(),
    "nn.utils": {"clip_grad_norm": _in_place(utils.clip_grad_norm_)},
    "nn.utils.clip_grad": {"clip_grad_norm": _in_place(utils.clip_grad_norm_)},
}
