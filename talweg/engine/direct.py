"""Operations that turn out to be one Node: recorded again without the call of their function.

A function of `fn` that makes one Node of its operands makes the same Op for operands of the same
types again. `lift` notes that Op, and what follows here is all that a later call needs to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sys import _getframe
from types import CodeType
from typing import Any, NamedTuple, TypeAlias, TypeVar

from talweg.base.errors import TalwegError
from talweg.base.shapes import contiguous_strides
from talweg.base.source import FOREIGN, here
from talweg.engine.barrier import overdue
from talweg.engine.header import Header, header_after
from talweg.engine.state import PENDING_BYTES, STATE
from talweg.engine.tape import Direct, Rules, clock
from talweg.engine.tensor import Storage, Tensor, view_of
from talweg.fn import indexing
from talweg.ir.node import Node
from talweg.ir.op import Op
from talweg.ir.types import TensorType
from talweg.ops.view import Reshape, Slice

# The Op, the type of its result, and the gradients of its steps; None for what has none.
Learned: TypeAlias = tuple[Op, TensorType, Rules | None]


class _Row(NamedTuple):
    """How a row of a value of some type lies there: its type, strides, and how far rows are apart;
    and what takes the first axis away."""

    type: TensorType
    strides: tuple[int, ...]
    apart: int
    reshape: Reshape


_Key = TypeVar("_Key")
_Found = TypeVar("_Found")

_new: Callable[[type[Tensor]], Tensor] = object.__new__
_new_step: Callable[[type[Direct]], Direct] = object.__new__
_rows: dict[TensorType, _Row] = {}
_ZEROS, _ONES = (0,) * 64, (1,) * 64
_LEARNED = 4096  # kinds of operands of one function


def row_of_known(t: Tensor, index: int) -> Tensor | None:
    """Return `t[index]` of a Tensor whose value is known; None where that takes more.

    Nothing is recorded: what needs the row's Node makes it.
    """
    root = t._storage.node
    if t._view is not None or t._edge is not None or root.value is None:
        return None
    shape = root.type.shape
    if not shape or STATE.now.capture is not None:
        return None
    size = shape[0]
    if not -size <= index < size:
        return None
    kind = _rows.get(root.type)
    if kind is None:
        rest = shape[1:]
        strides = contiguous_strides(shape)
        kind = _Row(root.type.with_shape(rest), strides[1:], strides[0], Reshape(rest))
        keep(_rows, root.type, kind)
    type, strides, apart, reshape = kind
    at = index % size
    chain: tuple[Op, ...] = (reshape,)
    if size != 1:
        rank = len(shape)
        chain = Slice((at, *_ZEROS[: rank - 1]), (at + 1, *shape[1:]), _ONES[:rank]), reshape
    return _part(t, type, chain, (strides, at * apart))


def part_of_known(t: Tensor, key: Any) -> Tensor | None:
    """Return `t[key]` where its elements are in a row of those of a known value; else None.

    Args:
        t: of any shape.
        key: integers, slices, None and Ellipsis.
    """
    root = t._storage.node
    if t._view is not None or t._edge is not None or root.value is None:
        return None
    if STATE.now.capture is not None:
        return None
    shape = root.type.shape
    try:
        split = indexing.split_key(STATE.builder, shape, key)
    except (TalwegError, TypeError):  # it is raised again with the user's line
        return None
    sizes = [len(range(*row)) for row in zip(split.starts, split.stops, split.steps, strict=True)]
    first = next((a for a, n in enumerate(sizes) if n != 1), len(sizes))
    if 0 in sizes or sizes[first + 1 :] != list(shape[first + 1 :]):
        return None
    if first < len(sizes) and split.steps[first] != 1:
        return None
    chain: tuple[Op, ...] = ()
    if tuple(sizes) != shape:
        chain = (Slice(split.starts, split.stops, split.steps),)
    if split.shape != tuple(sizes):
        chain += (Reshape(split.shape),)
    header = header_after(shape, (contiguous_strides(shape), 0), chain)
    if header is None or not chain:
        return None
    return _part(t, root.type.with_shape(split.shape), chain, header)


def _part(t: Tensor, type: TensorType, chain: tuple[Op, ...], header: Header) -> Tensor:
    part = _new(Tensor)
    part._storage = t._storage
    part._view = view = view_of(t, t, None, chain, header)
    view.part = type
    part._edge = part._grad = None
    return part


def keep(table: dict[_Key, _Found], key: _Key, found: _Found) -> _Found:
    """Note what was learned of a kind of operands, and return it; a full table begins anew."""
    if len(table) >= _LEARNED:
        table.clear()
    table[key] = found
    return found


def learn(name: str, out: Node, operands: Sequence[Node]) -> Learned | None:
    """Return what recording `out` again takes, if it is one differentiable Op on the operands."""
    type = out.type
    if out.inputs != tuple(operands):
        return None
    if len(operands) == 1 and not type.inexact:
        return out.op, type, None
    if not (out.op.differentiable and type.inexact):
        return None
    for x in operands:
        if x.type.dtype is not type.dtype:
            return None
    return out.op, type, Rules(name, tuple(range(len(operands))))


def record_sole(learned: Learned, t: Tensor, x: Node) -> Tensor:
    """Return the result of an Op on one Tensor `t`, whose Node is `x`.

    The user's line is that of the caller's caller.
    """
    op, type, rules = learned
    now = STATE.now
    builder = now.builder
    frame = _getframe(2)
    line = frame.f_code
    code: CodeType | None = line
    offset = frame.f_lasti
    if line.co_filename not in FOREIGN:
        code, offset = here() or (None, 0)
    builder.code = code
    builder.offset = offset
    node = builder.sole(op, x, type)
    result = _new(Tensor)
    result._storage = storage = Storage()
    storage.node = node
    storage.writes = None
    result._view = result._grad = None
    left = t._edge
    result._edge = None
    if left is not None and now.grad and rules is not None:
        result._edge = step = _new_step(Direct)
        step.order = next(clock)
        step.watch = step.right = step.second = None
        step.node = node
        step.rules = rules
        step.code = code
        step.offset = offset
        step.left = left
        step.first = t._storage
        step.result = storage
    now.pending.append(result)
    now.nbytes += type.nbytes
    if len(now.trace.nodes) >= now.limit or now.nbytes >= PENDING_BYTES:
        overdue(now, node)
    return result


def record_pair(learned: Learned, t: Tensor | None, x: Node, u: Tensor | None, y: Node) -> Tensor:
    """Return the result of an Op on two Tensors `t` and `u`, whose Nodes are `x` and `y`.

    One of them may be None: its Node is a number. The user's line is that of the caller's caller.
    """
    op, type, rules = learned
    now = STATE.now
    builder = now.builder
    frame = _getframe(2)
    line = frame.f_code
    code: CodeType | None = line
    offset = frame.f_lasti
    if line.co_filename not in FOREIGN:
        code, offset = here() or (None, 0)
    builder.code = code
    builder.offset = offset
    node = builder.pair(op, x, y, type)
    result = _new(Tensor)
    result._storage = storage = Storage()
    storage.node = node
    storage.writes = None
    result._view = result._grad = None
    left = None if t is None else t._edge
    right = None if u is None else u._edge
    result._edge = None
    if (left is not None or right is not None) and now.grad and rules is not None:
        result._edge = step = _new_step(Direct)
        step.order = next(clock)
        step.watch = None
        step.node = node
        step.rules = rules
        step.code = code
        step.offset = offset
        step.left = left
        step.right = right
        step.first = None if t is None else t._storage
        step.second = None if u is None else u._storage
        step.result = storage
    now.pending.append(result)
    now.nbytes += type.nbytes
    if len(now.trace.nodes) >= now.limit or now.nbytes >= PENDING_BYTES:
        overdue(now, node)
    return result


def arithmetic(
    op: Op, name: str, general: Callable[[Tensor, Any], Any], reflected: bool = False
) -> Callable[[Tensor, Any], Any]:
    """Return an operator of Tensor.

    Args:
        op: what it is between Tensors of one inexact type, or such a Tensor and a number.
        name: of the function that it stands for.
        general: the operator for all other operands.
        reflected: the Tensor is the right operand.
    """
    pairs: dict[TensorType, Learned] = {}
    alone: dict[TensorType, Learned] = {}

    def learned(
        table: dict[TensorType, Learned], type: TensorType, takes: tuple[int, ...]
    ) -> Learned:
        return keep(table, type, (op, type, Rules(name, takes)))

    def operator(self: Tensor, other: Any) -> Any:
        view = self._view
        x = self._storage.node if view is None else self.node()
        type = x.type
        if type.inexact and (view is None or not view.last):
            if isinstance(other, Tensor):
                y = other._storage.node if other._view is None else other.node()
                if y.type is type and not reflected and (x is not y or self is other):
                    found = pairs.get(type) or learned(pairs, type, (0, 1))
                    return record_pair(found, self, x, other, y)
            elif other.__class__ is float or other.__class__ is int:
                found = alone.get(type) or learned(alone, type, (int(reflected),))
                number = STATE.now.builder.scalar(other, type.dtype)
                if reflected:
                    return record_pair(found, None, number, self, x)
                return record_pair(found, self, x, None, number)
        return general(self, other)

    return operator
