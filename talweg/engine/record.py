"""From functions on Nodes to functions on Tensors: recording, taping, views, in-place writes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, final

from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError, GradientError, ShapeError, TalwegError, located
from talweg.base.shapes import inverse_order
from talweg.base.source import describe, here, warn
from talweg.engine import arguments
from talweg.engine.aliased import Aliased
from talweg.engine.arguments import (
    NodeFunction,
    by_own_names,
    misuse,
    overriding,
    shown_signature,
)
from talweg.engine.arranged import arranged, is_last, keeping
from talweg.engine.autocast import casting
from talweg.engine.barrier import note
from talweg.engine.direct import Learned, keep, learn, record_pair, record_sole
from talweg.engine.known import Known, Reverse, know
from talweg.engine.meta import PLACE, is_meta
from talweg.engine.operands import Operands
from talweg.engine.state import STATE
from talweg.engine.tape import Edge, Recorded, Step, backward_class, end_of
from talweg.engine.tensor import (
    AccumulateGrad,
    Storage,
    Tensor,
    alias,
    attach,
    owner,
    stand_in,
    view_of,
    wrap,
)
from talweg.ir.build import Builder
from talweg.ir.node import Node
from talweg.ir.op import Op
from talweg.ops.view import Diagonal, Permute, Reshape, Slice

_type = attrgetter("type")


def lift(function: NodeFunction) -> Callable[..., Any]:
    """Return the Tensor form of a function `f(b, x: Node, ...) -> Node`.

    Tensors among the arguments (also inside lists and tuples) are passed as Nodes; results become
    Tensors, taped when gradients are wanted. An error names the user's line. Keywords are
    PyTorch's, see `arguments.py`.
    """
    learned: dict[Any, Learned | None] = {}
    general = arguments.numbers_first(function, _General(function, learned).record)

    def lifted(*args: Any, **named: Any) -> Any:
        if not named:
            if len(args) == 1:
                (t,) = args
                if isinstance(t, Tensor):
                    x = t._storage.node if t._view is None else t.node()
                    found = learned.get(x.type)
                    if found is not None and (t._view is None or not t._view.last):
                        return record_sole(found, t, x)
            elif len(args) == 2:
                t, u = args
                if type(u) is int and isinstance(t, Tensor):
                    x = t._storage.node if t._view is None else t.node()
                    found = learned.get((x.type, u))
                    if found is not None and (t._view is None or not t._view.last):
                        return record_sole(found, t, x)
                elif isinstance(t, Tensor) and isinstance(u, Tensor):
                    x = t._storage.node if t._view is None else t.node()
                    y = u._storage.node if u._view is None else u.node()
                    found = learned.get((x.type, y.type))
                    if found is not None and (x is not y or t is u) and not _is_last(t, u):
                        return record_pair(found, t, x, u, y)
        try:
            return general(args, named)
        except (TypeError, AttributeError):
            own = overriding(args, named)
            if own is None:
                raise
        return own(made, (), args, named)

    made = _described(casting(lifted, function.__name__, _converted), function)
    return made


def _converted(t: Tensor, dtype: DType) -> Tensor:
    found: Tensor = _cast(t, dtype)
    return found


@final
class _General:
    """Records calls of a function with any arguments.

    Args:
        function: what is lifted.
        learned: where to note calls that turn out to be one Node, by the types of the Tensors.
    """

    def __init__(self, function: NodeFunction, learned: dict[Any, Learned | None]) -> None:
        self._function = function
        self._name = function.__name__
        self._renamed = by_own_names(function)
        self._learned = learned
        self._known: dict[Any, Known] = {}

    def record(self, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Return the results for these arguments; PyTorch's `out` is where they are written."""
        if named:
            args, named = self._renamed(args, named)
            if "out" in named:
                out = named.pop("out")
                result = self.record(args, named)
                return result if out is None else into(out, result, self._name)
        operands = Operands()
        given, kwargs = operands.nodes_of(args, named)
        now = STATE.now
        tracked = now.grad and _any_tracked(operands.tensors)
        if tracked and operands.tell_apart():
            given, kwargs = operands.nodes_of(args, named)
        tensors, nodes = operands.tensors, operands.nodes
        b = now.builder
        b.source = here()
        kind = operands.kind(b) if now.capture is None else None
        known = self._known.get(kind)
        if known is not None:
            out, made = known.record(b, operands.distinct)
        else:
            start = len(now.trace.nodes)
            out = _called(self._function, b, given, kwargs)
            made = now.trace.nodes[start:]
            if made[-1:] == [out] and not kwargs:
                self._learn(args, nodes, out)
            found = None if kind is None else know(start, operands.distinct, out)
            if found is not None:
                known, made = found
                keep(self._known, kind, known)
        reverse = None if known is None else known.reverse
        if not isinstance(out, Node):
            return _several(out, self._name, tensors, nodes, tracked, made, reverse)
        if out in nodes:
            return tensors[nodes.index(out)]
        last = any([t._view is not None and t._view.last for t in tensors])  # noqa: C419 - few
        step = None
        if tracked and out.type.inexact:
            step = taped(self._name, tensors, nodes, (out,), made, reverse)
        t = arranged(out) if last and keeping(self._name, (out,), tensors, made) else wrap(out)
        if step is not None:
            step.rows.append((out, t._storage))
            t._edge = step
        return t

    def _learn(self, args: tuple[Any, ...], nodes: list[Node], out: Node) -> None:
        if not 0 < len(args) < 3 or not isinstance(args[0], Tensor):
            return
        kind: tuple[Any, ...] = tuple(map(_type, nodes))
        if type(args[-1]) is int:  # a Symbol only says that it is one
            kind += args[-1:]
        if len(kind) == len(args) and isinstance(args[-1], Tensor | int):
            found = learn(self._name, out, nodes)
            keep(self._learned, kind if len(kind) > 1 else kind[0], found)


def _called(function: NodeFunction, b: Builder, given: list[Any], named: dict[str, Any]) -> Any:
    """Return what the function returns; an error names the user's line."""
    try:
        return function(b, *given, **named)
    except TalwegError as error:
        raise _at_the_users_line(error, b) from None
    except (TypeError, AttributeError) as error:
        raise misuse(function, tuple(given), named, error) from None


def _is_last(t: Tensor, u: Tensor) -> bool:
    t_view, u_view = t._view, u._view
    return (t_view is not None and t_view.last) or (u_view is not None and u_view.last)


def _any_tracked(tensors: Sequence[Tensor]) -> bool:
    return any([t._edge is not None for t in tensors])  # noqa: C419 - few, and cheaper so


def _at_the_users_line(error: TalwegError, b: Builder) -> Exception:
    return error if "recorded at" in str(error) else located(error, describe(b.source))


def _described(lifted: Callable[..., Any], function: NodeFunction) -> Callable[..., Any]:
    functools.update_wrapper(lifted, function)
    del lifted.__wrapped__  # type: ignore[attr-defined]
    lifted.__signature__ = shown_signature(function, "Tensor")  # type: ignore[attr-defined]
    return lifted


def _several(
    out: Any,
    name: str,
    tensors: Sequence[Tensor],
    given: Sequence[Node],
    tracked: bool,
    made: Sequence[Node],
    reverse: Reverse | None,
) -> Any:
    """Return the results of a function that gives several, or something else than Nodes."""
    if not isinstance(out, tuple | list):
        return out
    nodes = tuple(dict.fromkeys(o for o in out if isinstance(o, Node)))
    recorded = tracked and any(n.type.inexact for n in nodes)
    step = taped(name, tensors, given, nodes, made, reverse) if recorded else None
    last = keeping(name, nodes, tensors, made) if any(map(is_last, tensors)) else ()
    tensor_of = {o: arranged(o) if o in last else wrap(o) for o in nodes}
    if step is not None:
        for i, n in enumerate(nodes):
            step.rows.append((n, tensor_of[n]._storage))
            if n.type.inexact:
                attach(tensor_of[n], step, i)
    results = [tensor_of[o] if isinstance(o, Node) else o for o in out]
    return type(out)(*results) if hasattr(out, "_fields") else type(out)(results)


def taped(
    name: str,
    tensors: Sequence[Tensor],
    given: Sequence[Node],
    results: tuple[Node, ...],
    made: Sequence[Node],
    reverse: Reverse | None,
) -> Recorded:
    """Return the tape step of an operation.

    It comes before the results become Tensors: those may set off a barrier, after which the
    operands have other Nodes than the operation read.

    Args:
        name: of the function.
        tensors: its operands.
        given: their Nodes.
        results: the Nodes of its results.
        made: all Nodes that it made, and maybe others.
        reverse: its gradients, if its kind is known; `made` are no others then.
    """
    inputs: list[Node] = []
    edges: list[Edge] = []
    rows: list[tuple[Node, Storage]] = []
    for t, node in zip(tensors, given, strict=True):
        if node not in inputs:
            inputs.append(node)
            edges.append(t._edge)
            rows.append((node, t._storage))
    make = backward_class(name)
    step = make(tuple(edges), tuple(inputs), results, tuple(made), STATE.builder.source)
    step.rows = rows
    step.reverse = reverse
    return step


def lift_view(function: NodeFunction, must_alias: bool = True) -> Callable[..., Any]:
    """Return the Tensor form of a function of one Node whose results are Views of it.

    The results share the operand's storage where strides can express them.

    Args:
        function: made of aliasing View Nodes only (`chain_between`), or returning its operand.
        must_alias: raise where the data would have to be copied (`view`); otherwise copy.
    """
    name = function.__name__
    renamed = by_own_names(function)
    known: dict[Any, tuple[Known, list[Aliased]]] = {}

    def lifted(*args: Any, **named: Any) -> Any:
        if named:
            args, named = renamed(args, named)
        if not args and "x" in named:
            args = (named.pop("x"),)
        if not args or not isinstance(args[0], Tensor):
            raise misuse(function, args, named, TypeError(f"{name} needs a Tensor"))
        x = args[0]
        operands = Operands()
        given, kwargs = operands.nodes_of(args, named)
        now = STATE.now
        b = now.builder
        b.source = here()
        header = x.header()
        kind = operands.kind(b) if now.capture is None else None
        found = None if kind is None else known.get((header, kind))
        if found is not None:
            before, views = found
            out, _ = before.record(b, operands.distinct)
            outs = (out,) if before.several is None else out
        else:
            start = len(now.trace.nodes)
            out = _called(function, b, given, kwargs)
            outs = (out,) if isinstance(out, Node) else out
            views = [Aliased(header, given[0], node) for node in outs]
            learned = None if kind is None else know(start, operands.distinct, out)
            if learned is not None:
                keep(known, (header, kind), (learned[0], views))
                for view in views:
                    view.reverse = Reverse() if view.chain is not None else None
        made = [_view(name, x, given[0], *one, must_alias) for one in zip(outs, views, strict=True)]
        return made[0] if isinstance(out, Node) else tuple(made)

    return _described(lifted, function)


def _view(
    name: str, x: Tensor, start: Node, node: Node, aliased: Aliased, must_alias: bool
) -> Tensor:
    chain, header = aliased.chain, aliased.header
    source = STATE.builder.source
    step = None
    if STATE.grad and x._edge is not None:
        between = aliased.between(start, node)
        step = backward_class(name)((x._edge,), (start,), (node,), between, source)
        step.rows = [(start, x._storage)]
        step.reverse = aliased.reverse
    if chain is None or header is None:
        if must_alias:
            raise ShapeError(
                f"{name} to shape {node.shape} is not compatible with the strides {x.header()[0]} "
                f"of a Tensor of shape {x.shape}: at least one dimension spans two memory "
                "subspaces. Use .reshape(...) instead"
                f"\n  recorded at {describe(source)}"
            )
        result = wrap(node if node is not start else STATE.builder.copy(node))
    else:
        result = alias(x, node, chain, header)
    if step is not None:
        attach(result, step, 0)
    return result


def write_back(b: Builder, root: Node, chain: tuple[Op, ...], value: Node) -> Node:
    """Return `root` with the part that `chain` views replaced by `value`.

    Raises:
        ShapeError: when the chain repeats elements (expand): several would share one place.
    """
    if not value.type.size:
        return root
    stages = [root]
    for op in chain:
        stages.append(b.apply(op, stages[-1]))
    for op, before in zip(reversed(chain), reversed(stages[:-1]), strict=True):
        if isinstance(op, Slice):
            value = b.set_slice(before, value, op.starts, op.stops, op.steps)
        elif isinstance(op, Permute):
            value = b.permute(value, inverse_order(op.axes))
        elif isinstance(op, Diagonal):
            value = b.set_diagonal(before, value)
        elif isinstance(op, Reshape) or before.type.size == value.type.size:
            value = b.reshape(value, before.shape)
        else:
            raise ShapeError(
                "unsupported operation: more than one element of the written-to tensor refers to a "
                "single memory location. Please clone() the expanded tensor before writing to it"
                f"\n  recorded at {describe(b.source)}"
            )
    return value


def _check_writable(t: Tensor, name: str) -> None:
    base = owner(t)
    if base is None or not base.requires_grad:
        if not t.requires_grad or not t.is_leaf:
            return
        what = "a leaf Variable"
    elif base.is_leaf:
        what = "a view of a leaf Variable"
    elif t.requires_grad:
        return
    else:
        what = "a view that was made under no_grad of a Variable"
    raise GradientError(
        f"{what} that requires grad is being used in an in-place operation ({name}). "
        f"Do it under tw.no_grad(), or on a clone()\n  recorded at {describe(here())}"
    )


def assign(t: Tensor, value: Tensor, name: str = "copy_") -> Tensor:
    """Write `value` into the storage of `t`, in place; shapes are equal after broadcasting `value`.

    Raises:
        ShapeError, DTypeError: when the value does not fit, naming the user's line.
        GradientError: for a leaf that requires gradients while gradients are recorded.
    """
    STATE.builder.source = source = here()
    if STATE.grad:
        _check_writable(t, name)
    if value.shape != t.shape:
        raise ShapeError(
            f"{name}: the result has shape {value.shape}, which cannot be written in place into a "
            f"Tensor of shape {t.shape}\n  recorded at {describe(source)}"
        )
    if PLACE.used and is_meta(t):
        return t
    _check_castable(value, t, name)
    if value.dtype is not t.dtype:
        value = _cast(value, t.dtype)
    _write(t, value)
    return t


def _cast_node(b: Builder, x: Node, dtype: Any) -> Node:
    return b.cast(x, dtype)


_cast_node.__name__ = "to"
_cast = lift(_cast_node)


def _check_castable(value: Tensor, t: Tensor, name: str) -> None:
    if value.dtype.rank > t.dtype.rank:
        raise DTypeError(
            f"{name}: result type {value.dtype.name} can't be cast to the desired output type "
            f"{t.dtype.name}\n  recorded at {describe(here())}"
        )


def into(out: Any, result: Any, name: str) -> Any:
    """Write a result, or several, into the Tensors given for it, and return these.

    A Tensor of another shape takes the result's, with a warning unless it is empty.

    Raises:
        GradientError: when gradients are recorded for one of them.
        DTypeError: when the result does not fit the Tensor's dtype.
    """
    if isinstance(out, tuple | list):
        for t, r in zip(out, result, strict=True):
            into(t, r, name)
        return type(result)(*out) if hasattr(result, "_fields") else tuple(out)
    if STATE.grad and (out.requires_grad or result.requires_grad):
        raise GradientError(f"{name}: out= has no gradient, but an argument requires grad")
    if out.shape == result.shape:
        return assign(out, result, name)
    if 0 not in out.shape:
        warn(
            f"{name}: an output of shape {out.shape} was resized, since the result has shape "
            f"{result.shape}"
        )
    _check_castable(result, out, name)
    out.data = _cast(result, out.dtype) if result.dtype is not out.dtype else result
    return out


def _write(t: Tensor, value: Tensor) -> None:
    b = STATE.builder
    storage = t._storage
    node = value.node()
    base = owner(t)
    whole = t if base is None else base
    taped = STATE.grad and (value.requires_grad or whole.requires_grad)
    if base is None or not taped:
        storage.replace(write_back(b, storage.node, t._chain, node), t._counted)
        if base is None:
            if taped:
                step, index = end_of(value._edge)
                t._edge = None
                if step is not None:
                    attach(t, step, index)
                storage.written().taped += 1
            if t._view is not None:
                t._view.node = node
                t._view.root = storage.node
                t._view.taped = storage.taped
        note(t, node, renewed=True)
        return
    before = base.node()
    edges: tuple[Edge, ...] = (base._edge, value._edge)
    new = write_back(b, before, t._chain[len(base._chain) :], node)
    storage.replace(write_back(b, storage.node, base._chain, new), t._counted)
    make = backward_class("copy_slices", "")
    step = make(edges, (before, node), (new,), source=b.source)
    storage.written().taped += 1
    if base._view is not None:
        base._view.node = new
        base._view.root = storage.node
        base._view.taped = storage.taped
    attach(base, step, 0)
    note(base, new, renewed=True)


def view_in_place(function: Callable[..., Any], name: str) -> Callable[..., Tensor]:
    """Return the in-place form of a view: `x.t_()` makes x itself the transposed view."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if STATE.grad and self.is_leaf and self.requires_grad:
            raise GradientError(
                f"a leaf Variable that requires grad is being used in an in-place operation "
                f"({name})\n  recorded at {describe(here())}"
            )
        view = function(self, *args, **kwargs)
        base = self._base
        if base is None and not (self.is_leaf and self.requires_grad):
            base = stand_in(self)
        counted = self._counted
        self._view = view_of(view, base, view.node(), view._chain, view.header())
        self._view.counted = counted
        if view._edge is not None or not isinstance(self._edge, AccumulateGrad):
            self._edge = view._edge
        return self

    method.__name__ = name
    method.__doc__ = f"Make this Tensor the view that `{name[:-1]}` returns."
    return method


def in_place(function: Callable[..., Any], name: str) -> Callable[..., Tensor]:
    """Return the in-place form of a Tensor function: `x.add_(y)` writes `add(x, y)` into x."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        value = function(self, *args, **kwargs)
        step = value.grad_fn
        if isinstance(step, Step):
            step.forget(self._storage)
        return assign(self, value, name)

    method.__name__ = name
    method.__doc__ = f"In-place form of `{name[:-1]}`: writes the result into this Tensor."
    if hasattr(function, "__signature__"):
        method.__signature__ = function.__signature__  # type: ignore[attr-defined]
    return method
