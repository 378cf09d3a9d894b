"""The Tensor: the user's mutable handle on a value of the graph.

Below the handle everything is functional. Tensors over one Storage alias each other: each reads the
storage's present value through its chain of View ops, and an in-place write replaces that value.
Methods are attached in `engine/methods.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, final
from weakref import WeakSet, ref

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import GradientError, InvalidValue, ShapeError
from talweg.base.formats import lies_last
from talweg.base.shapes import Size, contiguous_strides
from talweg.engine.barrier import evaluate, note, observed
from talweg.engine.header import Header
from talweg.engine.state import STATE
from talweg.engine.tape import Edge, GradFn, Watch, backward_class, clock, end_of
from talweg.ir.node import Node, input_node, known_node
from talweg.ir.op import Op
from talweg.ir.types import TensorType
from talweg.runtime.buffer import Buffer


@final
class Writes:
    """The in-place writes to a storage.

    Attributes:
        version: counts the writes that gradients must know of.
        taped: counts the writes that changed where gradients come from.
        last: the time of the last counted write, by the clock of the tape.
        times: the times of the latest of them.
        latest: the time of the last counted write to any storage.
    """

    __slots__ = ("last", "taped", "times", "version")

    latest: ClassVar[int] = 0

    def __init__(self) -> None:
        self.version = self.taped = self.last = 0
        self.times: deque[int] = deque(maxlen=64)


@final
class Storage:
    """The value that aliasing Tensors share.

    Attributes:
        node: the present value.
        writes: the writes in place; None before the first.
    """

    __slots__ = ("node", "writes")

    node: Node
    writes: Writes | None

    @property
    def version(self) -> int:
        """How many writes there were that gradients must know of."""
        return 0 if self.writes is None else self.writes.version

    def version_at(self, time: int) -> int:
        """Return the version at an earlier time, at most 64 writes ago."""
        return self.version - sum(t > time for t in (self.writes.times if self.writes else ()))

    @property
    def taped(self) -> int:
        """How many writes there were that changed where gradients come from."""
        return 0 if self.writes is None else self.writes.taped

    def written(self) -> Writes:
        """Return the record of writes, for adding to it."""
        if self.writes is None:
            self.writes = Writes()
        return self.writes

    def replace(self, node: Node, counted: bool = True) -> None:
        """Set the present value; `counted` writes are seen by saved gradients."""
        self.node = node
        STATE.now.written[self] = None
        if counted:
            writes = self.written()
            writes.version += 1
            writes.last = Writes.latest = next(clock)
            writes.times.append(writes.last)


@final
class View:
    """How a Tensor reads a storage of which it is not the only or the whole reader.

    Attributes:
        base: the Tensor it is a view of; None after detaching.
        chain: the View ops that lead from the storage's value to the Tensor's.
        header: strides and offset.
        counted: whether writes through it raise the version.
        node: the Tensor's value, as it was made of `root`; None when it was forgotten.
        root: the storage's value at that time; None when that was forgotten.
        taped: how many writes to the storage its place on the tape knows of.
        last: whether these are images whose channels stand last.
        part: the type of the value where it is elements of the storage's in a row; None elsewhere,
            and where nobody asked.
    """

    __slots__ = ("base", "chain", "counted", "header", "last", "node", "part", "root", "taped")

    base: Tensor | None
    chain: tuple[Op, ...]
    header: Header
    counted: bool
    node: Node | None
    root: Node | None
    taped: int
    last: bool
    part: TensorType | None

    def forget(self) -> None:
        """Let go of the value, which is made of the storage's when it is wanted."""
        self.node = self.root = None


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

    __slots__ = ("__dict__", "__weakref__", "_edge", "_grad", "_storage", "_view")

    _edge: Edge
    _grad: Tensor | None
    _storage: Storage
    _view: View | None

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
        if len(data) == 1 and isinstance(data[0], Size):
            data = data[0]
        if data and all(isinstance(n, int) for n in data):
            array = np.zeros(data, np.float32)
        elif len(data) <= 1:
            array = np.array(data[0] if data else [], np.float32)
        else:
            raise InvalidValue("Tensor() takes one sequence or the sizes; use tw.tensor(data)")
        self._storage = Storage()
        self._storage.node = STATE.builder.constant(array)
        self._storage.writes = None
        self._view = self._edge = self._grad = None

    @property
    def shape(self) -> Size:
        """The sizes: a tuple of ints, and `numel()` of it."""
        return self.node().type.sizes

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
        view = self._view
        if view is None:
            return self._storage.node
        storage = self._storage
        node = view.node
        if node is None or view.root is not storage.node or view.taped != storage.taped:
            node = self._refresh(view)
        return node

    def _refresh(self, view: View) -> Node:
        storage, base, b = self._storage, owner(self), STATE.builder
        if base is not None and base.requires_grad:
            start, chain = base.node(), view.chain[len(base._chain) :]
        else:
            start, chain = storage.node, view.chain
            if view.part is not None and start.value is not None and STATE.now.capture is None:
                start, chain = part_of(start, view.part, view.header[1]), ()
        node = start
        for op in chain:
            node = b.apply(op, node)
        view.node = node
        view.root = storage.node
        if view.taped != storage.taped:
            view.taped = storage.taped
            if base is not None and base._edge is not None:
                step = self.grad_fn
                name = step.name() if step is not None else "View"
                make = backward_class(name.removesuffix("0"))
                attach(self, make((edge_of(base),), (start,), (node,), source=node.source), 0)
        if chain:
            STATE.now.renewed[self] = None
        return node

    @property
    def _base(self) -> Tensor | None:
        """The Tensor that this one is a view of."""
        return None if self._view is None else self._view.base

    @property
    def _chain(self) -> tuple[Op, ...]:
        return () if self._view is None else self._view.chain

    @property
    def _counted(self) -> bool:
        return self._view is None or self._view.counted

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to (or through) this Tensor."""
        return edge_of(self) is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not self.is_leaf:
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
        if value and self._edge is None:
            self._edge = self.__dict__.pop("_idle", None) or AccumulateGrad(self)
        elif not value and self._edge is not None:
            self.__dict__["_idle"], self._edge = self._edge, None

    @property
    def grad_fn(self) -> GradFn | None:
        """The tape step that made this Tensor; None for leaves."""
        step, _ = end_of(edge_of(self))
        return None if step is None or isinstance(step, AccumulateGrad) else step.shown()

    @property
    def is_leaf(self) -> bool:
        """True when the Tensor was not made by a recorded operation."""
        step, _ = end_of(edge_of(self))
        return step is None or isinstance(step, AccumulateGrad)

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient."""
        capture = STATE.now.capture
        if capture is not None:
            capture.graded = True
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
        if self._view is None:
            return contiguous_strides(self._storage.node.type.shape), 0
        return self._view.header


_new: Callable[[type[Tensor]], Tensor] = object.__new__


def wrap(node: Node, cls: type[Tensor] = Tensor) -> Tensor:
    """Return a new leaf Tensor, with its own Storage, on a Node."""
    t = _new(cls)
    t._storage = storage = Storage()
    storage.node = node
    storage.writes = None
    t._view = t._edge = t._grad = None
    if node.value is None:
        note(t, node)
    return t


def requires(t: Tensor, wanted: bool) -> Tensor:
    """Set `requires_grad` of a new leaf where wanted, and return it."""
    if wanted:
        t.requires_grad = True
    return t


def view_of(
    x: Tensor, base: Tensor | None, node: Node | None, chain: tuple[Op, ...], header: Header
) -> View:
    """Return how a Tensor reads the storage of `x`: `chain` gives its value, which is `node`.

    Without a node the caller knows whether channels stand last.
    """
    storage = x._storage
    view = View()
    view.base = base
    view.chain = chain
    view.header = header
    view.counted = x._counted
    view.node = node
    view.root = storage.node
    view.taped = storage.taped
    view.part = None
    view.last = len(header[0]) > 3 and node is not None and lies_last(node.type.shape, header[0])
    return view


def part_of(node: Node, type: TensorType, start: int) -> Node:
    """Return a Node for elements in a row of a known value, from number `start` on.

    It names the memory of the value, and keeps it.
    """
    size, value = type.dtype.itemsize, node.value
    if value.__class__ is Buffer:
        return input_node(type, value.part(start * size, type.nbytes))
    array = node.array
    assert array is not None
    flat = np.ascontiguousarray(array).reshape(-1)
    return input_node(type, flat[start : start + type.size].reshape(type.shape))


def alias(x: Tensor, node: Node, chain: tuple[Op, ...], header: Header) -> Tensor:
    """Return a Tensor over the storage of `x`, whose value is `chain` applied to that of `x`."""
    t = _new(Tensor)
    t._storage = x._storage
    base = x._base
    t._view = view_of(x, x if base is None else base, node, x._chain + chain, header)
    t._edge = t._grad = None
    if node.value is None:
        STATE.now.pending.append(t)
    return t


def owner(t: Tensor) -> Tensor | None:
    """Return the Tensor of which `t` is a view, while both lie over one storage."""
    base = t._base
    while base is not None and base._base is not None:
        base = base._base
    return base if base is not None and base._storage is t._storage else None


def stand_in(t: Tensor) -> Tensor:
    """Return a Tensor that takes the place of `t` as the owner of its views."""
    made = detached(t)
    made._edge = t._edge
    return made


def detached(x: Tensor, counted: bool = True) -> Tensor:
    """Return an alias of `x` that gradients do not see; `counted` writes raise the version."""
    t = _new(Tensor)
    t._storage = x._storage
    t._view = t._edge = t._grad = None
    if x._view is not None or not counted:
        t._view = view_of(x, None, x.node(), x._chain, x.header())
        t._view.counted = x._counted and counted
    node = t.node()
    if node.value is None:
        STATE.now.pending.append(t)
    return t


def twin(node: Node) -> Node:
    """Return another Node of the same value: the tape tells places apart by their Nodes."""
    return STATE.builder.copy(node) if node.value is None else known_node(node)


def edge_of(t: Tensor) -> Edge:
    """Return where the cotangent of `t` goes; None when it does not require gradients."""
    view = t._view
    if view is not None and view.taped != t._storage.taped:
        t.node()
    return t._edge


class AccumulateGrad(GradFn):
    """The last step before a leaf: adds the cotangent to `variable.grad`.

    Attributes:
        after: what runs when that is done.
        watching: the leaves that were given hooks, to know of them without a walk to each leaf.
    """

    __slots__ = ("_leaf", "_strong", "after")

    watching: ClassVar[WeakSet[AccumulateGrad]] = WeakSet()

    def __init__(self, leaf: Tensor) -> None:
        self.order = 0
        self.watch = None
        self.after: dict[int, Callable[[Tensor], Any]] = {}
        self._leaf = ref(leaf)
        self._strong: Tensor | None = None

    @property
    def variable(self) -> Tensor | None:
        """The leaf; None when nobody holds it any more."""
        return self._leaf()

    @property
    def watched(self) -> Watch:
        """What users attached, for more of it."""
        self.watching.add(self)
        return super().watched

    @property
    def hooked(self) -> bool:
        """Whether it has hooks: it is then served as soon as it can be."""
        watch = self.watch
        if watch is None:
            return bool(self.after)
        return any((self.after, watch.outer, watch.before, *watch.hooks.values()))

    def hold(self) -> None:
        """Keep the leaf alive as long as this step."""
        self._strong = self._leaf()


def attach(t: Tensor, step: GradFn, index: int) -> None:
    """Make `t` the result number `index` of a tape step."""
    t._edge = (step, index) if index else step
    if t.retains_grad:
        step.watched.retained += (ref(t),)


def concrete(t: Tensor) -> np.ndarray:
    """Return the value as a stored array (bfloat16 as uint16). Do not write to it."""
    observed("the value of a Tensor is looked at while the function runs")
    node = t.node()
    if node.value is None:
        root = t._storage.node
        if root.value is None and t._view is not None and root.type.size == node.type.size:
            evaluate([root])
        array = _part_of_known(t)
        if array is not None:
            return array
        evaluate([node])
        if node is t._storage.node:
            t._storage.node = known_node(node)
    array = node.array
    assert array is not None, "evaluate leaves a value"
    return array


def _part_of_known(t: Tensor) -> np.ndarray | None:
    """Return a view of elements of a storage whose value is known: nothing is computed."""
    array = t._storage.node.array if t._view is not None else None
    if array is None or not array.flags.c_contiguous or not t.node().type.size:
        return None
    strides, offset = t.header()
    size = array.itemsize
    steps = tuple([s * size for s in strides])
    return np.ndarray(t.shape, array.dtype, array, offset * size, steps)


def values(t: Tensor) -> np.ndarray:
    """Return the value as a NumPy array in computing form (bfloat16 as float32)."""
    return dtypes.decode(concrete(t), t.dtype)
