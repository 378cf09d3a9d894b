"""The ops, joined: every family's tuple, the registry by name, the Builder that carries them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache
from typing import Any

from talweg.base.errors import GraphError
from talweg.ir.build import Builder, pair_method, sole_method
from talweg.ir.node import Node
from talweg.ir.op import Input, Op, Pick
from talweg.loops.functions import FUNCTIONS
from talweg.ops import (
    arithmetic,
    comparison,
    contract,
    control,
    convert,
    draws,
    effect,
    fourier,
    generate,
    halves,
    index,
    linalg,
    recurrence,
    reduce,
    scan,
    special,
    transcendental,
    view,
    window,
)
from talweg.ops.kinds import KINDS, Elementwise

OPS: tuple[type[Op], ...] = (
    *arithmetic.OPS,
    *comparison.OPS,
    *transcendental.OPS,
    *special.OPS,
    *convert.OPS,
    *generate.OPS,
    *contract.OPS,
    *halves.OPS,
    *window.OPS,
    *index.OPS,
    *reduce.OPS,
    *scan.OPS,
    *view.OPS,
    *control.OPS,
    *recurrence.OPS,
    *effect.OPS,
    *linalg.OPS,
    *fourier.OPS,
    *draws.OPS,
)
_NAMED: tuple[type[Op], ...] = (*OPS, Input, Pick)
BY_NAME: dict[str, type[Op]] = {op.name(): op for op in _NAMED}


def method_of(op: type[Op]) -> Callable[..., Any]:
    """Return the Builder method of an Op class: inputs first, then the Op's fields."""
    names = [f.name for f in fields(op)]
    if not names:
        only = op()

        if issubclass(op, Elementwise) and op.arity < 3:
            return (sole_method, pair_method)[op.arity - 1](only)

        def plain(b: Builder, *inputs: Node) -> Node:
            return b.apply(only, *inputs)

        return plain
    make = lru_cache(maxsize=65_536)(op)

    def with_fields(b: Builder, *arguments: Any, **attributes: Any) -> Node:
        count = 0
        for argument in arguments:
            if not isinstance(argument, Node):
                break
            count += 1
        return b.apply(make(*arguments[count:], **attributes), *arguments[:count])

    return with_fields


class OpBuilder(Builder):
    """A Builder with one method per Op: `b.add(x, y)`, `b.reduce_sum(x, axes=(0,))`."""

    __slots__ = ()


class _Method:
    """Stands in OpBuilder for the method of an Op, which is made when it is first called."""

    __slots__ = ("name", "op")

    def __init__(self, name: str, op: type[Op]) -> None:
        self.name = name
        self.op = op

    def __get__(self, instance: object, owner: type) -> Any:
        method = method_of(self.op)
        method.__name__ = self.name
        method.__doc__ = self.op.__doc__
        setattr(OpBuilder, self.name, method)
        return getattr(owner if instance is None else instance, self.name)


def register(op: type[Op]) -> None:
    """Give OpBuilder the method of an Op.

    Raises:
        GraphError: when the Op is of no kind, or a rule or its samples are missing.
    """
    if not issubclass(op, KINDS):
        raise GraphError(f"{op.__name__} is of no known kind")
    wanted = ["infer", "reference", "samples"] + (["vjp"] if op.differentiable else [])
    missing = [rule for rule in wanted if getattr(op, rule) is getattr(Op, rule, None)]
    if op.samples.__func__ is Op.samples.__func__:  # type: ignore[attr-defined]
        missing.append("samples")
    if op.lowered and not _has_lower(op):
        missing.append("lower")
    if missing:
        raise GraphError(f"{op.__name__} lacks {', '.join(missing)}")
    setattr(OpBuilder, op.name(), _Method(op.name(), op))


def _has_lower(op: type[Op]) -> bool:
    if issubclass(op, Elementwise) and op.lower is Elementwise.lower:
        return (op.symbol or op.name()) in FUNCTIONS
    return op.lower is not Op.lower


for _op in OPS:
    register(_op)
