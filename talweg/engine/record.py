"""From functions on Nodes to functions on Tensors: recording, taping, views, in-place writes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from talweg.base.errors import DTypeError, GradientError, ShapeError, TalwegError, located
from talweg.base.shapes import inverse_order
from talweg.base.source import describe, here
from talweg.engine.arguments import NodeFunction, by_own_names, misuse, shown_signature
from talweg.engine.barrier import note
from talweg.engine.header import chain_between, header_after
from talweg.engine.state import STATE
from talweg.engine.tape import Edge, Recorded, backward_class
from talweg.engine.tensor import (
    Storage,
    Tensor,
    alias,
    attach,
    edge_of,
    owner,
    stand_in,
    twin,
    wrap,
)
from talweg.ir.build import Builder
from talweg.ir.node import Node
from talweg.ir.op import Op
from talweg.ops.view import Diagonal, Permute, Reshape, Slice


def lift(function: NodeFunction) -> Callable[..., Any]:
    """Return the Tensor form of a function `f(b, x: Node, ...) -> Node`.

    Tensors among the arguments (also inside lists and tuples) are passed as Nodes; results become
    Tensors, taped when gradients are wanted. An error names the user's line. Keywords are
    PyTorch's, see `arguments.py`.
    """
    name = function.__name__
    renamed = by_own_names(function)

    def lifted(*args: Any, **named: Any) -> Any:
        if named:
            args, named = renamed(args, named)
        tensors: list[Tensor] = []
        given: list[Any] = []
        for a in args:
            if isinstance(a, Tensor):
                tensors.append(a)
                node = a._node
                given.append(
                    a._refresh() if node is None or a._seen != a._storage.generation else node
                )
            elif a.__class__ in _SEQUENCES:
                given.append(_to_node(a, tensors))
            else:
                given.append(a)
        kwargs = {k: _to_node(v, tensors) for k, v in named.items()} if named else named
        state = STATE
        tracked = False
        if state.grad:
            for t in tensors:
                if t._requires or (t._taped != t._storage.taped and t.requires_grad):
                    tracked = True
                    break
        if tracked and len(tensors) > 1 and _told_apart(tensors):
            return lifted(*args, **named)
        b = state.builder
        b.source = here()
        b.keep = tracked
        try:
            out = function(b, *given, **kwargs)
        except TalwegError as error:
            raise _at_the_users_line(error, b) from None
        except (TypeError, AttributeError) as error:
            raise misuse(function, tuple(given), kwargs, error) from None
        finally:
            b.keep = False
        if out.__class__ is not Node:
            return _several(out, name, tensors, tracked)
        for t in tensors:
            if t._node is out:
                return t
        if not tracked or not out.type.dtype.is_inexact:
            return wrap(out)
        step = taped(backward_class(name), tensors, (out,))
        result = wrap(out)
        step.saved.append((out, result._storage, 0))
        result._grad_fn = step
        result._requires = True
        return result

    return _described(lifted, function)


_SEQUENCES = (list, tuple)


def _told_apart(tensors: Sequence[Tensor]) -> bool:
    """Give Tensors of one Node, but of different places on the tape, Nodes of their own.

    Such are `x` and `x.detach()`. Return whether there were any.
    """
    seen: dict[Node | None, Tensor] = {}
    found = False
    for t in tensors:
        first = seen.setdefault(t._node, t)
        if first is not t and edge_of(first) != edge_of(t):
            t._node = twin(t.node())
            found = True
    return found


def _at_the_users_line(error: TalwegError, b: Builder) -> Exception:
    return error if "recorded at" in str(error) else located(error, describe(b.source))


def _to_node(value: Any, tensors: list[Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors.append(value)
        return value.node()
    if value.__class__ in _SEQUENCES:
        return type(value)(_to_node(v, tensors) for v in value)
    return value


def _described(lifted: Callable[..., Any], function: NodeFunction) -> Callable[..., Any]:
    functools.update_wrapper(lifted, function)
    del lifted.__wrapped__  # type: ignore[attr-defined]
    lifted.__signature__ = shown_signature(function)  # type: ignore[attr-defined]
    return lifted


def _several(out: Any, name: str, tensors: Sequence[Tensor], tracked: bool) -> Any:
    """Return the results of a function that gives several, or something else than Nodes."""
    if not isinstance(out, tuple | list):
        return out
    nodes = tuple(dict.fromkeys(o for o in out if o.__class__ is Node))
    recorded = tracked and any(n.type.dtype.is_inexact for n in nodes)
    step = taped(backward_class(name), tensors, nodes) if recorded else None
    made = {o: wrap(o) for o in nodes}
    if step is not None:
        for i, n in enumerate(nodes):
            step.saved.append((n, made[n]._storage, 0))
            if n.type.dtype.is_inexact:
                attach(made[n], step, i)
    results = [made[o] if o.__class__ is Node else o for o in out]
    return type(out)(*results) if hasattr(out, "_fields") else type(out)(results)


def taped(
    step_class: type[Recorded], tensors: Sequence[Tensor], nodes: tuple[Node, ...]
) -> Recorded:
    """Return the tape step of an operation from `tensors` to results whose Nodes are `nodes`.

    It comes before the results become Tensors: those may set off a barrier, after which the
    operands have other Nodes than the operation read.
    """
    inputs: list[Node] = []
    edges: list[Edge] = []
    saved: list[tuple[Node, Storage, int]] = []
    for t in tensors:
        node = t._node
        if node is None or node in inputs:
            continue
        inputs.append(node)
        step = t._grad_fn
        edges.append((step, t._index) if step is not None else edge_of(t))
        saved.append((node, t._storage, t._storage.version))
    return step_class(tuple(edges), tuple(inputs), nodes, saved, STATE.builder.source)


def lift_view(function: NodeFunction, must_alias: bool = True) -> Callable[..., Any]:
    """Return the Tensor form of a function of one Node whose results are Views of it.

    The results share the operand's storage where strides can express them.

    Args:
        function: made of aliasing View Nodes only (`chain_between`), or returning its operand.
        must_alias: raise where the data would have to be copied (`view`); otherwise copy.
    """
    name = function.__name__
    renamed = by_own_names(function)

    def lifted(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            args, kwargs = renamed(args, kwargs)
        if not args and "x" in kwargs:
            args = (kwargs.pop("x"),)
        if not args or not isinstance(args[0], Tensor):
            raise misuse(function, args, kwargs, TypeError(f"{name} needs a Tensor"))
        x, *rest = args
        node = x.node()
        b = STATE.builder
        b.source = here()
        b.keep = STATE.grad and x.requires_grad
        try:
            rest = [a.node() if isinstance(a, Tensor) else a for a in rest]
            kwargs = {k: a.node() if isinstance(a, Tensor) else a for k, a in kwargs.items()}
            out = function(b, node, *rest, **kwargs)
        except TalwegError as error:
            raise _at_the_users_line(error, b) from None
        except (TypeError, AttributeError) as error:
            raise misuse(function, (node, *rest), kwargs, error) from None
        finally:
            b.keep = False
        if out.__class__ is Node:
            return _view(name, x, node, out, must_alias)
        return tuple(_view(name, x, node, o, must_alias) for o in out)

    return _described(lifted, function)


def _view(name: str, x: Tensor, start: Node, node: Node, must_alias: bool) -> Tensor:
    chain = chain_between(start, node)
    header = None if chain is None else header_after(x.shape, x.header(), chain)
    if chain is None or header is None:
        if must_alias:
            raise ShapeError(
                f"{name} to shape {node.shape} is not compatible with the strides {x.header()[0]} "
                f"of a Tensor of shape {x.shape}: at least one dimension spans two memory "
                "subspaces. Use .reshape(...) instead"
                f"\n  recorded at {describe(STATE.builder.source)}"
            )
        result = wrap(node if node is not start else STATE.builder.copy(node))
    else:
        result = alias(x, node, chain, header)
    if STATE.grad and x.requires_grad:
        saved = [(start, x._storage, x._storage.version)]
        step_class = backward_class(name)
        step = step_class((edge_of(x),), (start,), (node,), saved, STATE.builder.source)
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
    b = STATE.builder
    b.source = source = here()
    if STATE.grad:
        _check_writable(t, name)
    if value.shape != t.shape:
        raise ShapeError(
            f"{name}: the result has shape {value.shape}, which cannot be written in place into a "
            f"Tensor of shape {t.shape}\n  recorded at {describe(source)}"
        )
    if value.dtype.rank > t.dtype.rank:
        raise DTypeError(
            f"{name}: result type {value.dtype.name} can't be cast to the desired output type "
            f"{t.dtype.name}\n  recorded at {describe(source)}"
        )
    if value.dtype is not t.dtype:
        value = _cast(value, t.dtype)
    _write(t, value)
    return t


def _cast_node(b: Builder, x: Node, dtype: Any) -> Node:
    return b.cast(x, dtype)


_cast_node.__name__ = "to"
_cast = lift(_cast_node)


def _write(t: Tensor, value: Tensor) -> None:
    b = STATE.builder
    storage = t._storage
    node = value.node()
    base = owner(t)
    whole = t if base is None else base
    taped = STATE.grad and (value.requires_grad or whole.requires_grad)
    b.keep = taped
    if base is None or not taped:
        storage.replace(write_back(b, storage.node, t._chain, node), t._counted)
        b.keep = False
        if base is None:
            if taped and value.requires_grad:
                edge = edge_of(value)
                assert edge is not None
                attach(t, *edge)
            elif taped:
                t._grad_fn, t._requires = None, False
            t._node = node
            t._seen = storage.generation
            if taped:
                storage.taped += 1
                t._taped = storage.taped
        note(t)
        return
    before = base.node()
    edges: tuple[Edge, ...] = (edge_of(base), edge_of(value))
    new = write_back(b, before, t._chain[len(base._chain) :], node)
    b.keep = False
    storage.replace(write_back(b, storage.node, base._chain, new), t._counted)
    step = backward_class("copy_slices", "")(edges, (before, node), (new,), [], b.source)
    base._node = new
    base._seen = storage.generation
    storage.taped += 1
    base._taped = storage.taped
    attach(base, step, 0)
    note(base)


def view_in_place(function: Callable[..., Any], name: str) -> Callable[..., Tensor]:
    """Return the in-place form of a view: `x.t_()` makes x itself the transposed view."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if STATE.grad and self.is_leaf and self.requires_grad:
            raise GradientError(
                f"a leaf Variable that requires grad is being used in an in-place operation "
                f"({name})\n  recorded at {describe(here())}"
            )
        view = function(self, *args, **kwargs)
        if self._base is None and not (self.is_leaf and self._requires):
            self._base = stand_in(self)
        self._chain, self._header = view._chain, view._header
        self._node, self._seen = view._node, view._seen
        self._grad_fn, self._index = view._grad_fn, view._index
        return self

    method.__name__ = name
    method.__doc__ = f"Make this Tensor the view that `{name[:-1]}` returns."
    return method


def in_place(function: Callable[..., Any], name: str) -> Callable[..., Tensor]:
    """Return the in-place form of a Tensor function: `x.add_(y)` writes `add(x, y)` into x."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        value = function(self, *args, **kwargs)
        step = value._grad_fn
        if isinstance(step, Recorded):
            own = self._storage
            step.saved = [row for row in step.saved if row[1] is not own]
        return assign(self, value, name)

    method.__name__ = name
    method.__doc__ = f"In-place form of `{name[:-1]}`: writes the result into this Tensor."
    if hasattr(function, "__signature__"):
        method.__signature__ = function.__signature__  # type: ignore[attr-defined]
    return method
