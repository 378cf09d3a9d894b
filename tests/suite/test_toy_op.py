"""An op written here gets the generated checks and passes; a broken one is caught."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.errors import DTypeError, GraphError
from talweg.base.frozen import frozen
from talweg.ir.build import Builder
from talweg.ir.node import Node
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType
from talweg.loops.build import NestBuilder
from talweg.loops.scalar import Scalar
from talweg.ops import BY_NAME, OpBuilder, register
from talweg.ops.kinds import INEXACT, Elementwise, Unary, Window
from tests.suite.cases import (
    Case,
    cases_of,
    check_gradients,
    check_identity,
    check_nest,
    check_reference,
    check_text,
    gradient_dtypes,
)


@frozen
class Cube(Unary):
    """x * x * x; smooth everywhere."""

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        return np.asarray(x * x * x)

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        (x,) = ins
        return x * x * x

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.mul(b.scalar(3, x.dtype), b.mul(x, x))


@frozen
class Stretch(Elementwise):
    """x * factor; a field becomes the op's identity and its text."""

    factor: float
    accepts = INEXACT

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(arrays[0] * arrays[0].dtype.type(self.factor))

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        return ins[0] * self.factor

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        return (b.stretch(cotangents[0], self.factor),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(2.5), (Draw((3,)),), INEXACT)
        yield Sample(cls(-1.0), (Draw((3,)),), INEXACT)


class WrongSlope(Cube):
    """A factor of 2 where 3 is right."""

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.mul(b.scalar(2, x.dtype), b.mul(x, x))


class ForgetsConjugate(Cube):
    """Right for real numbers only."""

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        return (b.mul(cotangents[0], self.slope(b, node.inputs[0], node)),)


class NoSecondOrder(Cube):
    """The first gradient is right, but computed by an op that itself has none."""

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        square = b.mul(x, x)
        return b.mul(b.scalar(3, x.dtype), b.apply(Opaque(), square))


@frozen
class Opaque(Elementwise):
    """x, hidden from gradients."""

    differentiable = False
    function = np.copy


class NoGradientAtAll(Cube):
    """Says None where a gradient flows."""

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        return (None,)


class WrongShape(Cube):
    """Infers a scalar where the reference gives the operand's shape."""

    def infer(self, *types: TensorType) -> TensorType:
        return types[0].with_shape(())


class WrongDtype(Cube):
    """Infers bool where the reference gives numbers."""

    def infer(self, *types: TensorType) -> TensorType:
        return types[0].with_dtype(dtypes.bool_)


class Coarse(Cube):
    """Loses digits in float32."""

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        cube = x * x * x
        return cube.astype(np.float16).astype(x.dtype) if x.dtype == np.float32 else cube


class WrongNest(Cube):
    """Lowered to a square."""

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        (x,) = ins
        return x * x


class CoarseNest(Cube):
    """Lowered through another dtype: right in a half type, too coarse beyond."""

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        x = nest.cast(nest.real(ins[0]), dtypes.float16)
        return nest.cast(x * x * x, ins[0].dtype)


class NestOfAnotherType(Cube):
    """Lowered to a value of another dtype than infer says."""

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        return nest.isnan(ins[0])


class NoSamples(Cube):
    """Nothing to test it by."""

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from ()


@pytest.fixture
def toys() -> Iterator[None]:
    for op in (Cube, Stretch):
        register(op)
    yield
    for op in (Cube, Stretch):
        delattr(OpBuilder, op.name())


def gradient_cases(op: type[Op]) -> list[Case]:
    return [c for c in cases_of(op) if c.dtype in gradient_dtypes(c.sample)]


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("op", [Cube, Stretch])
def test_a_toy_op_passes_every_generated_check(op: type[Op]) -> None:
    check_identity(op)
    for case in cases_of(op):
        check_reference(case)
        check_text(case, {**BY_NAME, op.name(): op})
        check_nest(case)
    assert {c.dtype for c in gradient_cases(op)} == {dtypes.float64, dtypes.complex128}
    for case in gradient_cases(op):
        check_gradients(case)


@pytest.mark.usefixtures("toys")
def test_a_registered_op_is_a_method_of_the_builder() -> None:
    b = OpBuilder()
    x = b.constant(np.array([1.0, 2.0]))
    assert b.stretch(x, 3.0).op == b.stretch(x, factor=3.0).op == Stretch(3.0)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (WrongSlope, "order 1"),
        (ForgetsConjugate, "complex128: order 1"),
        (NoSecondOrder, "order 2"),
        (NoGradientAtAll, "order 1"),
    ],
)
def test_a_wrong_gradient_is_caught(broken: type[Op], message: str) -> None:
    with pytest.raises(AssertionError, match=message):  # noqa: PT012
        for case in gradient_cases(broken):
            check_gradients(case)


@pytest.mark.parametrize(
    ("broken", "error", "message"),
    [
        (WrongShape, GraphError, r"reference gave .*infer says \w+\[\]"),
        (WrongDtype, GraphError, "reference gave .*infer says bool"),
        (Coarse, AssertionError, r"float32: (?s:.*) should be"),
    ],
)
def test_a_wrong_reference_is_caught(
    broken: type[Op], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):  # noqa: PT012
        for case in cases_of(broken):
            check_reference(case)


@pytest.mark.parametrize(
    ("broken", "error", "message"),
    [
        (WrongNest, AssertionError, r"bfloat16: (?s:.*) should be"),
        (CoarseNest, AssertionError, r"float32: (?s:.*) should be"),
        (NestOfAnotherType, DTypeError, "expected bfloat16, got a Scalar of bool"),
    ],
)
def test_a_wrong_nest_is_caught(broken: type[Op], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):  # noqa: PT012
        for case in cases_of(broken):
            check_nest(case)


def test_an_elementwise_op_that_no_scalar_function_computes_is_refused() -> None:
    with pytest.raises(GraphError, match="Opaque lacks lower"):
        register(Opaque)


def test_an_op_without_samples_is_caught() -> None:
    with pytest.raises(AssertionError, match="no sample"):
        check_identity(NoSamples)


def test_an_op_without_docstring_is_caught() -> None:
    undocumented = frozen(type("Undocumented", (Cube,), {}))
    with pytest.raises(AssertionError, match="no docstring"):
        check_identity(undocumented)


def test_an_op_that_lacks_a_rule_is_refused() -> None:
    @frozen
    class Hollow(Window):
        """No rule at all."""

    with pytest.raises(GraphError, match="Hollow lacks infer, reference, vjp, samples, lower"):
        register(Hollow)


def test_an_op_of_no_kind_is_refused() -> None:
    @frozen
    class Stray(Op):
        """Derived from Op alone."""

    with pytest.raises(GraphError, match="Stray is of no known kind"):
        register(Stray)
