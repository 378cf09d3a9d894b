"""The Tensor: the user's mutable handle on a value of the graph.

Below the handle everything is functional. Tensors over one Storage alias each other: each reads the
storage's present value through its chain of View ops, and an in-place write replaces that value.
Methods are attached in `engine/methods.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import GradientError, InvalidValue, ShapeError
from talweg.base.shapes import Shape, contiguous_strides
from talweg.engine.barrier import note
from talweg.engine.evaluate import evaluate
from talweg.engine.header import Header, header_after
from talweg.engine.state import STATE
from talweg.engine.tape import Edge, GradFn, Hook, backward_class
from talweg.ir.node import Node, input_node, known_node
from talweg.ir.op import Op


class Storage:
    """The value that aliasing Tensors share.

    Attributes:
        node: the present value.
        version: counts the writes that gradients must know of.
        generation: counts every replacement of `node`; a Tensor that saw an older one reads anew.
        taped: counts the writes that changed where gradients come from.
    """

    __slots__ = ("generation", "node", "taped", "version")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.version = 0
        self.generation = 0
        self.taped = 0

    def replace(self, node: Node, counted: bool = True) -> None:
        """Set the present value; `counted` writes are seen by saved gradients."""
        self.node = node
        self.generation += 1
        if counted:
            self.version += 1


class Tensor:
    """A multi-dimensional array that records what is done to it.

    `Tensor(data)` makes a float32 Tensor of a nested list or array, `Tensor(2, 3)` an
    uninitialised one of that shape; `tw.tensor` keeps the dtype of its data.

    Attributes:
        grad: the gradient accumulated by `backward()`, of the Tensor's shape and dtype, or None.
        retains_grad: whether `grad` is kept although this is not a leaf; see `retain_grad`.

    Example:
        >>> import talweg as tw
        >>> x = tw.tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([2., 4.])
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_accumulator",
        "_base",
        "_chain",
        "_counted",
        "_grad",
        "_grad_fn",
        "_header",
        "_hooks",
        "_index",
        "_node",
        "_requires",
        "_seen",
        "_storage",
        "_taped",
    )

    _accumulator: ref[AccumulateGrad] | None
    _base: Tensor | None
    _chain: tuple[Op, ...]
    _counted: bool
    _grad: Tensor | None
    _grad_fn: GradFn | None
    _header: Header | None
    _hooks: dict[int, Hook] | None
    _index: int
    _node: Node | None
    _requires: bool
    _seen: int
    _storage: Storage
    _taped: int

    retains_grad = False

    if TYPE_CHECKING:
        data: Tensor

        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, key: Any) -> Tensor: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...
        def __len__(self) -> int: ...
        def __iter__(self) -> Iterator[Tensor]: ...
        def __float__(self) -> float: ...
        def __int__(self) -> int: ...
        def __neg__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __lshift__(self, other: Any) -> Tensor: ...
        def __rshift__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __rmod__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __rand__(self, other: Any) -> Tensor: ...
        def __ror__(self, other: Any) -> Tensor: ...
        def __rxor__(self, other: Any) -> Tensor: ...
        def __rlshift__(self, other: Any) -> Tensor: ...
        def __rrshift__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...

    def __init__(self, *data: Any) -> None:
        if data and all(isinstance(n, int) for n in data):
            array = np.zeros(data, np.float32)
        elif len(data) <= 1:
            array = np.array(data[0] if data else [], np.float32)
        else:
            raise InvalidValue("Tensor() takes one sequence or the sizes; use tw.tensor(data)")
        _fill(self, input_node(STATE.builder.constant(array).type, array))

    @property
    def shape(self) -> Shape:
        """The sizes, as a tuple of ints."""
        return self.node().type.shape

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self.node().type.dtype

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.node().type.rank

    def node(self) -> Node:
        """Return the present value as a Node of the graph."""
        node = self._node
        if node is None or self._seen != self._storage.generation:
            node = self._refresh()
        return node

    def _refresh(self) -> Node:
        storage, base, b = self._storage, owner(self), STATE.builder
        if base is not None and base.requires_grad:
            start, chain = base.node(), self._chain[len(base._chain) :]
        else:
            start, chain = storage.node, self._chain
        node = start
        for op in chain:
            node = b.apply(op, node)
        self._node = node
        self._seen = storage.generation
        if self._taped != storage.taped:
            self._taped = storage.taped
            if base is not None and base._requires:
                name = type(self._grad_fn).__name__ if self._grad_fn else "View"
                step = backward_class(name.removesuffix("0"))
                attach(self, step((edge_of(base),), (start,), (node,)), 0)
        return node

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to (or through) this Tensor."""
        if self._taped != self._storage.taped:
            self.node()
        return self._requires

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self.grad_fn is not None:
            if not value:
                raise GradientError(
                    "you can only change requires_grad flags of leaf variables. If you want to use "
                    "a computed variable in a subgraph that doesn't require differentiation use "
                    "var_no_grad = var.detach()"
                )
            return
        if value and not self.dtype.is_inexact:
            raise GradientError(
                f"only Tensors of floating point and complex dtype can require gradients, got "
                f"{self.dtype.name}"
            )
        self._requires = bool(value)

    @property
    def grad_fn(self) -> GradFn | None:
        """The tape step that made this Tensor; None for leaves."""
        if self._taped != self._storage.taped:
            self.node()
        return self._grad_fn

    @property
    def is_leaf(self) -> bool:
        """True when the Tensor was not made by a recorded operation."""
        return self.grad_fn is None

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise InvalidValue(f"grad must be a Tensor or None, got {type(value).__name__}")
            if value.shape != self.shape or value.dtype is not self.dtype:
                raise ShapeError(
                    f"assigned grad is {value.dtype.name} of shape {value.shape}, the Tensor is "
                    f"{self.dtype.name} of shape {self.shape}: both must be the same"
                )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def _version(self) -> int:
        """Number of in-place writes to the storage that gradients must know of."""
        return self._storage.version

    def header(self) -> Header:
        """Return the strides and the offset into the storage, in elements."""
        if self._header is None:
            shape = self._storage.node.type.shape
            start = contiguous_strides(shape), 0
            self._header = header_after(shape, start, self._chain)
            assert self._header is not None, "aliasing views have strides by construction"
        return self._header


_new: Callable[[type[Tensor]], Tensor] = object.__new__


def wrap(node: Node, cls: type[Tensor] = Tensor) -> Tensor:
    """Return a new leaf Tensor, with its own Storage, on a Node."""
    t = _new(cls)
    _fill(t, node)
    return t


def _fill(t: Tensor, node: Node) -> None:
    t._storage = Storage(node)
    t._chain = ()
    t._base = None
    t._node = node
    t._seen = t._taped = t._index = 0
    t._counted = True
    t._requires = False
    t._grad_fn = t._grad = t._hooks = t._header = t._accumulator = None
    if node.value is None:
        note(t)


def requires(t: Tensor, wanted: bool) -> Tensor:
    """Set `requires_grad` of a new leaf where wanted, and return it."""
    if wanted:
        t.requires_grad = True
    return t


def alias(x: Tensor, node: Node, chain: tuple[Op, ...], header: Header) -> Tensor:
    """Return a Tensor over the storage of `x`, whose value is `chain` applied to that of `x`."""
    t = _new(Tensor)
    t._storage = x._storage
    t._chain = x._chain + chain
    t._base = x if x._base is None else x._base
    t._node = node
    t._seen = x._storage.generation
    t._taped = x._storage.taped
    t._index = 0
    t._counted = x._counted
    t._requires = False
    t._grad_fn = t._grad = t._hooks = t._accumulator = None
    t._header = header
    note(t)
    return t


def owner(t: Tensor) -> Tensor | None:
    """Return the Tensor of which `t` is a view, while both lie over one storage."""
    base = t._base
    while base is not None and base._base is not None:
        base = base._base
    return base if base is not None and base._storage is t._storage else None


def stand_in(t: Tensor) -> Tensor:
    """Return a Tensor that takes the place of `t` as the owner of its views."""
    made = alias(t, t.node(), (), t.header())
    made._base = None
    made._requires, made._grad_fn, made._index = t._requires, t._grad_fn, t._index
    return made


def detached(x: Tensor, counted: bool = True) -> Tensor:
    """Return an alias of `x` that gradients do not see; `counted` writes raise the version."""
    t = alias(x, x.node(), (), x.header())
    t._base = None
    t._counted = x._counted and counted
    return t


def twin(node: Node) -> Node:
    """Return another Node of the same value: the tape tells places apart by their Nodes."""
    if node.value is None:
        return STATE.builder.copy(node)
    return known_node(node)


def edge_of(t: Tensor) -> Edge:
    """Return where the cotangent of `t` goes; None when it does not require gradients."""
    if not t.requires_grad:
        return None
    step = t._grad_fn
    if step is not None:
        return step, t._index
    accumulator = t._accumulator() if t._accumulator is not None else None
    if accumulator is None:
        accumulator = AccumulateGrad(t)
        t._accumulator = ref(accumulator)
    return accumulator, 0


class AccumulateGrad(GradFn):
    """The last step before a leaf: adds the cotangent to `variable.grad`."""

    __slots__ = ("variable",)

    def __init__(self, variable: Tensor) -> None:
        super().__init__(())
        self.variable = variable


def attach(t: Tensor, step: GradFn, index: int) -> None:
    """Make `t` the result number `index` of a tape step."""
    t._grad_fn = step
    t._index = index
    t._requires = True
    if t.retains_grad:
        step.retained += (ref(t),)


def concrete(t: Tensor) -> np.ndarray:
    """Return the value as a stored array (bfloat16 as uint16). Do not write to it."""
    node = t.node()
    if node.value is None:
        evaluate([node])
        if node is t._storage.node and not node.keep:
            t._storage.node = t._node = known_node(node)
    array = node.array
    assert array is not None, "evaluate leaves a value"
    return array


def values(t: Tensor) -> np.ndarray:
    """Return the value as a NumPy array in computing form (bfloat16 as float32)."""
    return dtypes.decode(concrete(t), t.dtype)
