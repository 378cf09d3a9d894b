"""Nested Tensors: several Tensors that differ in some sizes, computed with as one.

>>> import talweg as tw
>>> x = tw.nested.nested_tensor([[1.0, 2.0], [3.0]])
>>> tw.nested.to_padded_tensor(x + 1, 0.0)
tensor([[2., 3.],
        [4., 0.]])
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from talweg.base.dtypes import DType
from talweg.base.errors import InvalidValue, ShapeError
from talweg.base.shapes import normalize_axis
from talweg.engine import creation
from talweg.engine.conversion import device, layout, strided
from talweg.engine.functions import FUNCTIONS, METHODS
from talweg.engine.tensor import Tensor
from talweg.nn import functional as F

_AXES = ("dim", "axis", "dim0", "dim1")
_SIZES = ("reshape", "view", "expand")
_NUMBERS = (
    *("add", "sub", "mul", "truediv", "pow", "matmul", "radd", "rsub", "rmul"),
    "rtruediv",
    "rmatmul",
)


class NoShape(ShapeError, AttributeError):
    """The sizes of a nested Tensor differ: it has no shape."""


class NestedTensor:
    """Tensors of one dtype and number of dimensions; the first dimension counts them.

    Functions and methods of Tensors are computed for each of them: `dim` counts the first
    dimension, other nested operands must hold as many. Gradients flow to what they were made of.

    Args:
        parts: the Tensors, each of one dimension less.

    Raises:
        InvalidValue: when they differ in dtype or in dimensions.
    """

    is_nested = True
    is_sparse = False

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self._parts = tuple(parts)
        if len({(t.ndim, t.dtype) for t in self._parts}) > 1:
            kinds = ", ".join(f"{t.dtype.name} {tuple(t.shape)}" for t in self._parts)
            raise InvalidValue(f"Tensors of one dtype and number of dimensions are needed: {kinds}")

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return _each(func, args, dict(kwargs or {}))

    # What they are.

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self._parts[0].dtype if self._parts else creation.get_default_dtype()

    @property
    def device(self) -> device:
        """Where the values are."""
        return device("cpu")

    @property
    def layout(self) -> layout:
        """How the values are arranged: `strided`."""
        return strided

    @property
    def ndim(self) -> int:
        """The number of dimensions, with that which counts the Tensors."""
        return 1 + (self._parts[0].ndim if self._parts else 0)

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to one of them."""
        return any(t.requires_grad for t in self._parts)

    @property
    def grad(self) -> NestedTensor | None:
        """Their gradients; None where there are none."""
        found = [t.grad for t in self._parts]
        return (
            None
            if any(g is None for g in found)
            else NestedTensor([g for g in found if g is not None])
        )

    def dim(self) -> int:
        """Return the number of dimensions."""
        return self.ndim

    def numel(self) -> int:
        """Return how many elements all have together."""
        return sum(int(t.numel()) for t in self._parts)

    def size(self, dim: int | None = None) -> int:
        """Return the size of a dimension, if it is the same for all.

        Raises:
            ShapeError: when it differs, or no dimension is given.
        """
        if dim is None:
            raise ShapeError("nested Tensors have no single size; size(dim) needs a dimension")
        axis = normalize_axis(dim, self.ndim)
        if axis == 0:
            return len(self._parts)
        sizes = {int(t.shape[axis - 1]) for t in self._parts}
        if len(sizes) != 1:
            raise ShapeError(f"dimension {dim} is irregular: its sizes are {sorted(sizes)}")
        return sizes.pop()

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._parts)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple):
            found, rest = self[key[0]], key[1:]
            return NestedTensor([t[rest] for t in found]) if key[0] == slice(None) else found[rest]
        return NestedTensor(self._parts[key]) if isinstance(key, slice) else self._parts[key]

    def __repr__(self) -> str:
        rows = ",\n".join(f"  {t!r}".replace("\n", "\n  ") for t in self._parts)
        return f"nested_tensor([\n{rows}\n])"

    # What is made of them.

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        """Return the Tensors.

        Raises:
            InvalidValue: for another dimension than 0.
        """
        if normalize_axis(dim, self.ndim):
            raise InvalidValue(f"nested Tensors are taken apart along dimension 0, not {dim}")
        return self._parts

    def to_padded_tensor(self, padding: float, output_size: Sequence[int] | None = None) -> Tensor:
        """Return one Tensor of the largest sizes, filled up with a number.

        Args:
            padding: the number.
            output_size: the sizes, with the first; at least the largest.

        Raises:
            ShapeError: when they are smaller.
        """
        most = [max(sizes) for sizes in zip(*(t.shape for t in self._parts), strict=True)]
        wanted = most if output_size is None else list(output_size)[1:]
        if len(wanted) != len(most) or any(n < m for n, m in zip(wanted, most, strict=False)):
            raise ShapeError(f"to_padded_tensor: {output_size} is smaller than the sizes {most}")
        rows = []
        for t in self._parts:
            gaps = [n - m for n, m in zip(wanted, t.shape, strict=True)]
            around = [n for gap in reversed(gaps) for n in (0, gap)]
            rows.append(F.pad(t, around, value=padding) if any(gaps) else t)
        made: Tensor = FUNCTIONS["stack"](rows)
        return made

    def values(self) -> Tensor:
        """Return the Tensors one after the other, along the dimension that differs first."""
        made: Tensor = FUNCTIONS["cat"](self._parts)
        return made

    def offsets(self) -> Tensor:
        """Return where each begins in `values()`, and their end."""
        ends = [0]
        for t in self._parts:
            ends.append(ends[-1] + t.shape[0])
        return creation.tensor(ends)

    def sum(self, dim: Any = None, keepdim: bool = False) -> Any:
        """Return the sum of all elements, or of each Tensor over some of its dimensions."""
        if dim is None:
            parts = [t.sum() for t in self._parts]
            total: Tensor = FUNCTIONS["stack"](parts).sum()
            return total
        return _each(METHODS["sum"], (self, dim, keepdim), {})

    def requires_grad_(self, requires_grad: bool = True) -> NestedTensor:
        """Ask for gradients of the Tensors."""
        for t in self._parts:
            t.requires_grad_(requires_grad)
        return self

    def __getattr__(self, name: str) -> Any:
        if name == "shape":
            raise NoShape("nested Tensors have no shape; use size(dim), or unbind() and the parts'")
        method = getattr(Tensor, name, None)
        if name.startswith("__") or not callable(method):
            raise AttributeError(f"NestedTensor has no attribute {name!r}", name=name, obj=self)
        return partial(_sized if name in _SIZES else _of_each, method, self)


def _of_each(method: Callable[..., Any], self: NestedTensor, *args: Any, **named: Any) -> Any:
    return _each(method, (self, *args), named)


def _sized(method: Callable[..., Any], self: NestedTensor, *size: Any, **named: Any) -> Any:
    """Compute `reshape` and the like, whose sizes begin with the number of Tensors."""
    if len(size) == 1 and not isinstance(size[0], int):
        size = tuple(size[0])
    if size[0] not in (-1, len(self)):
        raise ShapeError(f"the first size must be {len(self)}, the number of Tensors, got {size}")
    return NestedTensor([method(t, size[1:], **named) for t in self.unbind()])


def _axis(value: Any, rank: int) -> Any:
    """Return a dimension of the parts for one of all."""
    if isinstance(value, tuple | list):
        return type(value)(_axis(v, rank) for v in value)
    if not isinstance(value, int):
        return value
    axis = normalize_axis(value, rank)
    if axis == 0:
        raise InvalidValue("nested Tensors are not computed with along dimension 0")
    return axis - 1


def _each(func: Callable[..., Any], args: Sequence[Any], named: dict[str, Any]) -> Any:
    """Return a function of each Tensor, as a nested Tensor, or several where it gives several."""
    nested = [v for v in (*args, *named.values()) if isinstance(v, NestedTensor)]
    count, rank = len(nested[0]), nested[0].ndim
    if any(len(n) != count for n in nested):
        raise ShapeError(f"nested operands hold {', '.join(str(len(n)) for n in nested)} Tensors")
    given = list(args)
    names = [*inspect.signature(func).parameters]
    for i, name in enumerate(names[: len(given)]):
        if name in _AXES:
            given[i] = _axis(given[i], rank)
    options = {k: _axis(v, rank) if k in _AXES else v for k, v in named.items()}
    rows = []
    for i in range(count):
        part = [v[i] if isinstance(v, NestedTensor) else v for v in given]
        more = {k: v[i] if isinstance(v, NestedTensor) else v for k, v in options.items()}
        rows.append(func(*part, **more))
    if all(isinstance(r, Tensor) for r in rows):
        return NestedTensor(rows)
    if all(isinstance(r, tuple | list) for r in rows):
        return tuple(NestedTensor(column) for column in zip(*rows, strict=True))
    return rows


def _operator(name: str) -> Callable[..., Any]:
    def operator(self: NestedTensor, other: Any) -> Any:
        return _each(getattr(Tensor, f"__{name}__"), (self, other), {})

    return operator


for _name in _NUMBERS:
    setattr(NestedTensor, f"__{_name}__", _operator(_name))
setattr(NestedTensor, "__neg__", lambda self: _each(METHODS["neg"], (self,), {}))  # noqa: B010


def _plain(how: Any) -> None:
    name = repr(how)
    if how is not None and how is not strided and "jagged" not in name:
        raise InvalidValue(f"nested Tensors are strided, not {name}")


def nested_tensor(
    tensor_list: Sequence[Any],
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> NestedTensor:
    """Return a nested Tensor with copies of data.

    Args:
        tensor_list: Tensors, arrays or lists, of one number of dimensions.
        dtype: of all; by default that of the first.
        layout: strided.
        device: the CPU.
        requires_grad: whether gradients are to be computed; they are in `grad`.
        pin_memory: ignored.

    Raises:
        InvalidValue: for something else, or when dtypes and dimensions differ.
    """
    _plain(layout)
    if not isinstance(tensor_list, list | tuple):
        raise InvalidValue("nested_tensor needs a list of Tensors or of what makes Tensors")
    parts = [creation.tensor(v, dtype, device) for v in tensor_list]
    return NestedTensor([t.requires_grad_() if requires_grad else t for t in parts])


def as_nested_tensor(
    ts: Any, dtype: DType | None = None, device: Any = None, layout: Any = None
) -> NestedTensor:
    """Return a nested Tensor of Tensors, to which gradients flow.

    Args:
        ts: a list of Tensors, or a Tensor that is taken apart along its first dimension.
        dtype: of all; by default that of the first.
        device: the CPU.
        layout: strided.
    """
    _plain(layout)
    if isinstance(ts, NestedTensor):
        return ts
    parts = [creation.as_tensor(t, dtype, device) for t in ts]
    return NestedTensor(parts)


def to_padded_tensor(
    input: NestedTensor, padding: float, output_size: Sequence[int] | None = None, out: Any = None
) -> Tensor:
    """Return one Tensor of the largest sizes, filled up with a number; see the method."""
    return input.to_padded_tensor(padding, output_size)


def nested_tensor_from_jagged(
    values: Tensor,
    offsets: Tensor | None = None,
    lengths: Tensor | None = None,
    jagged_dim: int | None = None,
    min_seqlen: int | None = None,
    max_seqlen: int | None = None,
) -> NestedTensor:
    """Return a nested Tensor of neighbouring rows.

    Args:
        values: the rows of all.
        offsets: where each Tensor's rows begin, and the end of the last.
        lengths: how many rows each has; from its offset on where both are given.
        jagged_dim: 1.
        min_seqlen, max_seqlen: ignored.

    Raises:
        InvalidValue: without offsets and lengths.
    """
    if offsets is None and lengths is None:
        raise InvalidValue("nested_tensor_from_jagged needs offsets or lengths")
    counts = None if lengths is None else lengths.tolist()
    if offsets is not None:
        starts = offsets.tolist()
    else:
        starts = [0]
        for n in counts or ():
            starts.append(starts[-1] + n)
    ends = starts[1:] if counts is None else [s + n for s, n in zip(starts, counts, strict=False)]
    return NestedTensor([values[a:b] for a, b in zip(starts, ends, strict=False)])


__all__ = [
    "NestedTensor",
    "as_nested_tensor",
    "nested_tensor",
    "nested_tensor_from_jagged",
    "to_padded_tensor",
]
