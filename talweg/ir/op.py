"""What an Op is: a frozen description with five rules."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import GradientError, GraphError
from talweg.base.frozen import frozen
from talweg.base.shapes import Shape
from talweg.ir.types import TensorType

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node

_TOKENS: dict[tuple[object, ...], int] = {}
_below = itertools.count(-1, -1)

# The Ops that were made and have numbers, by their tokens; and these, in order.
NUMBERED: dict[int, Op] = {}
NUMBERED_TOKENS: list[int] = []


@frozen
class Op:
    """A description of one computation; its fields are its attributes.

    Subclasses are frozen dataclasses. Equality, hash, text form and batch signature follow from the
    fields. `token` is a negative int, equal exactly when the Ops are equal.

    Attributes:
        differentiable: False where there is no `vjp` rule.
        lowered: False where there is no `lower` rule, because no kernel computes the Op.
        partial: whether `vjp` takes None for the cotangent of a result to which none came.
        numbered: whether it has numbers, see `numbers`.
        embeds: whether it is a view whose operand stands among zeros.
    """

    differentiable: ClassVar[bool] = True
    lowered: ClassVar[bool] = True
    partial: ClassVar[bool] = False
    numbered: ClassVar[bool] = False
    embeds: ClassVar[bool] = False
    token: ClassVar[int]

    def __post_init__(self) -> None:
        identity = (type(self), *vars(self).values())
        token = _TOKENS.setdefault(identity, next(_below))
        object.__setattr__(self, "token", token)
        if self.numbered and token not in NUMBERED:
            NUMBERED[token] = self
            NUMBERED_TOKENS.append(token)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The fields that kernels take as arguments: where a view begins, along every axis."""
        return ()

    def opened(self, first: int) -> Op:
        """Return the Op with its numbers open: `Open(first)` and those after it.

        It is equal for all Ops that differ in these numbers alone.
        """
        return self

    @property
    def kin(self) -> int:
        """The token of `opened(0)`: equal for Ops that differ in their numbers alone."""
        return self.token

    @classmethod
    def name(cls) -> str:
        """Return the snake-case name under which Builders and texts know this Op."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def infer(self, *types: TensorType) -> TensorType | tuple[TensorType, ...]:
        """Return the result type, or raise an error that names the constraint."""
        raise NotImplementedError

    def reference(self, *arrays: np.ndarray) -> Any:
        """Return the result computed by NumPy: what this Op means."""
        raise NotImplementedError

    def vjp(self, b: Builder, node: Node, *cotangents: Any) -> tuple[Node | None, ...]:
        """Return one cotangent per input (None where no gradient flows), made through `b`."""
        raise GradientError(f"{self.name()} has no gradient")

    def lower(self, nest: Any, *ins: Any) -> Any:
        """Return the computation as a loop nest: `nest` is a `loops.build.NestBuilder`.

        Elementwise Ops get Scalars and return one. Others get Operands and return a Point, or write
        `nest.outputs` and return None.
        """
        raise GraphError(f"{self.name()} has no loop nest")

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Yield inputs for the generated tests."""
        raise NotImplementedError


@frozen
class Input(Op):
    """A value that is given, not computed: a Graph's argument, a Tensor's data, a scalar."""

    lowered: ClassVar[bool] = False

    def infer(self, *types: TensorType) -> TensorType:
        raise GraphError("an input has no rule: its type is given")


INPUT = Input()


@frozen
class Pick(Op):
    """Result number `index` of a Node whose Op has several results."""

    index: int
    lowered: ClassVar[bool] = False

    def infer(self, *types: Any) -> TensorType:
        (several,) = types
        if not isinstance(several, tuple) or self.index >= len(several):
            raise GraphError(f"result {self.index} picked from a node of type {several}")
        result: TensorType = several[self.index]
        return result

    def reference(self, *arrays: Any) -> np.ndarray:
        result: np.ndarray = arrays[0][self.index]
        return result


@frozen
class Draw:
    """How to draw one test input.

    Args:
        shape: its shape.
        low, high: range of the values; unsigned types clip `low` to 0.
        avoid: points (kinks) from which floating values keep a distance of 0.05.
        dtype: a fixed dtype; None takes the dtype under test.
        distinct: draw values that differ from each other by at least 0.05 (for max, sort).
    """

    shape: Shape
    low: float = -2.0
    high: float = 2.0
    avoid: tuple[float, ...] = ()
    dtype: DType | None = None
    distinct: bool = False


@frozen
class Sample:
    """One generated test of an Op.

    Args:
        op: the Op with its attributes.
        inputs: how to draw each input, or the array itself.
        dtypes: every dtype this sample is run in.
        tolerance: relative tolerance of machine code against the reference, in units of the
            dtype's epsilon.
        gradient: compare gradients of orders 1 and 2 with finite differences (in float64).
        domain_note: why a range was chosen, for readers.
    """

    op: Op
    inputs: tuple[Draw | np.ndarray, ...]
    dtypes: tuple[DType, ...] = dtypes.FLOATS
    tolerance: float = 4.0
    gradient: bool = True
    domain_note: str = ""
