"""The checks that every op gets from its own samples. `test_ops.py` runs them over the registry."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from talweg.autodiff.reverse import vjp
from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import GraphError
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph, Node, input_node
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.text import parse_graph, print_graph
from talweg.ir.types import TensorType, tensor_type
from talweg.ir.verify import verify
from talweg.loops.affine import simplify_nest
from talweg.loops.build import Lowered, lower
from talweg.loops.interpret import interpret as run_nest
from talweg.loops.text import format_nest, parse
from talweg.loops.verify import verify as verify_nest
from talweg.ops import OpBuilder
from talweg.ops.arithmetic import Share
from talweg.ops.kinds import Effect, Elementwise, Gather, Generate, View
from talweg.ops.special import Gelu

STEP = 1e-5
WIDE = {"float": dtypes.float64, "complex": dtypes.complex128, "int": dtypes.int64}
WIDE["uint"] = dtypes.int64


@dataclass(frozen=True)
class Case:
    """One sample of one op in one dtype, with its drawn inputs in stored form."""

    sample: Sample
    dtype: DType
    number: int

    def __str__(self) -> str:
        return f"{self.sample.op.name()}-{self.number}-{self.dtype.name}"

    @property
    def op(self) -> Op:
        return self.sample.op

    def generator(self) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(str(self).encode()))

    def values(self) -> list[tuple[np.ndarray, DType]]:
        """The inputs: what references see, and the dtype each has."""
        rng = self.generator()
        out = []
        for given in self.sample.inputs:
            if isinstance(given, Draw):
                dtype = given.dtype or self.dtype
                out.append((draw(given, dtype, rng), dtype))
            else:
                out.append((np.asarray(given), dtypes.from_numpy(given.dtype)))
        return out


def cases_of(op: type[Op]) -> list[Case]:
    samples = list(op.samples())
    return [Case(s, d, i) for i, s in enumerate(samples) for d in s.dtypes]


def settled(array: np.ndarray, dtype: DType) -> np.ndarray:
    """The values of an array once they are stored in a dtype."""
    with np.errstate(all="ignore"):
        return dtypes.decode(dtypes.encode(array.astype(dtype.compute), dtype), dtype)


def draw(given: Draw, dtype: DType, rng: np.random.Generator) -> np.ndarray:
    """Draw values in the dtype's compute form, as `Draw` promises."""
    low, high = given.low, given.high
    count = int(np.prod(given.shape, dtype=np.int64))
    if dtype is dtypes.bool_:
        return rng.integers(0, 2, given.shape).astype(bool)
    if not dtype.is_inexact:
        first = int(np.ceil(max(low, 0) if dtype.category == "uint" else low))
        if given.distinct:
            drawn = first + rng.permutation(count).reshape(given.shape)
        else:
            drawn = rng.integers(first, max(first, int(np.floor(high))) + 1, given.shape)
        return drawn.astype(dtype.compute)
    if given.distinct:
        gap = (high - low) / max(count, 1)
        assert gap >= 0.1, f"{count} values in [{low}, {high}] cannot be 0.05 apart"
        places = rng.permutation(count).reshape(given.shape) + rng.uniform(0.0, 0.4, given.shape)
        return settled(low + gap * places, dtype)
    for _ in range(1000):
        values = rng.uniform(low, high, given.shape)
        if dtype.is_complex:
            values = values + 1j * rng.uniform(low, high, given.shape)
        values = settled(np.asarray(values), dtype)
        if all((np.abs(values - point) >= 0.05).all() for point in given.avoid):
            return values
    raise AssertionError(f"{given} leaves no room between the points it avoids")


def build(
    op: Op, types: Sequence[TensorType], b: OpBuilder | None = None
) -> tuple[list[Node], list[Node]]:
    """Inputs of these types, and the results of an op on them."""
    b = b or OpBuilder()
    inputs = [input_node(t) for t in types]
    made = b.apply(op, *inputs)
    several = not isinstance(made.type, TensorType)
    return inputs, list(b.results(op, *inputs)) if several else [made]


def run(op: Op, values: Sequence[tuple[np.ndarray, DType]]) -> list[tuple[np.ndarray, DType]]:
    """The results of an op through the interpreter, decoded, each with the dtype inferred."""
    inputs, outputs = build(op, [tensor_type(d, v.shape) for v, d in values])
    graph = Graph(inputs, outputs)
    verify(graph)
    stored = interpret(graph, [dtypes.encode(v, d) for v, d in values])
    for array, node in zip(stored, outputs):
        assert array.shape == node.type.shape
        assert array.dtype == node.type.dtype.storage
    return [(dtypes.decode(a, n.type.dtype), n.type.dtype) for a, n in zip(stored, outputs)]


def check_reference(case: Case) -> None:
    """The reference gives what `infer` says, and agrees with itself in a wider dtype.

    Floating results agree within the sample's tolerance; integers are those of exact arithmetic,
    wrapped. The comparison is made where the sample names the wider dtype, too.
    """
    values = case.values()
    results = run(case.op, values)
    wide = WIDE.get(case.dtype.category)
    if wide not in case.sample.dtypes or wide is case.dtype or case.dtype.bits == wide.bits:
        return
    wide_values = [
        (v.astype(wide.compute), wide)
        if isinstance(given, Draw) and given.dtype is None
        else (v, d)
        for (v, d), given in zip(values, case.sample.inputs)
    ]
    for (got, dtype), (want, _) in zip(results, run(case.op, wide_values), strict=True):
        if not dtype.is_inexact:
            np.testing.assert_array_equal(got, want.astype(got.dtype), str(case))
            continue
        drawn = [np.abs(v).max(initial=0) for v, d in wide_values if d is wide]
        check_close(case, got, want, dtype, max(drawn, default=0))


def check_close(case: Case, got: np.ndarray, want: np.ndarray, dtype: DType, drawn: float) -> None:
    """Floats agree within the sample's tolerance: relative to each element of an elementwise op,
    else to the largest of the results and of what was drawn. NaN and infinities agree exactly.
    """
    got = got.astype(want.dtype)
    special = ~np.isfinite(want)
    np.testing.assert_array_equal(got[special], want[special], str(case))
    got, want = got[~special], want[~special]
    size = np.abs(want)
    if not isinstance(case.op, Elementwise):
        size = np.maximum(size.max(initial=0), drawn)
    info = dtypes.finfo(dtype)
    wrong = ~(np.abs(got - want) <= case.sample.tolerance * info.eps * size + info.tiny)
    assert not wrong.any(), f"{case}: {got[wrong]} should be {want[wrong]}"


def lowered(op: Op, types: Sequence[TensorType]) -> Lowered:
    """The nest of an op on operands of these types."""
    _, outputs = build(op, types)
    results = [o.type for o in outputs]
    return lower(op.name(), op.lower, types, results, isinstance(op, Elementwise))


def check_nest(case: Case, values: list[tuple[np.ndarray, DType]] | None = None) -> None:
    """The nest is text that reads back, stays valid and means the same when simplified, and gives
    what the reference gives: floats within the sample's tolerance, all else and whatever only moves
    values bit for bit. Values are the sample's own unless given.
    """
    if not case.op.lowered:
        return
    values = values or case.values()
    made = lowered(case.op, [tensor_type(d, v.shape) for v, d in values])
    assert parse(format_nest(made.nest)) == made.nest
    simple = simplify_nest(made.nest)
    verify_nest(simple)
    arrays = [v for v, _ in values]
    results = run_nest(made.nest, arrays, made.values)
    for one, other in zip(results, run_nest(simple, arrays, made.values), strict=True):
        np.testing.assert_array_equal(one, other)
    drawn = [np.abs(v[np.isfinite(v)]).max(initial=0) for v, d in values if d.is_inexact]
    for got, (want, dtype) in zip(results, run(case.op, values), strict=True):
        moves = isinstance(case.op, View | Gather | Generate) or not case.sample.tolerance
        if moves or not dtype.is_inexact:
            assert bits(got, dtype) == bits(want, dtype), f"{case}: {got} should be {want}"
        else:
            check_close(case, got, want, dtype, max(drawn, default=0))


def bits(array: np.ndarray, dtype: DType) -> bytes:
    """The stored bytes of an array, in which every NaN looks the same."""
    if dtype.is_inexact:
        array = np.where(np.isnan(array), array.dtype.type(np.nan), array)
    return dtypes.encode(array, dtype).tobytes()


def check_text(case: Case, ops: Mapping[str, type[Op]]) -> None:
    """A graph with the op prints and parses back to a graph of the same structure.

    An Effect may hold a Python function, and such a graph is refused.
    """
    inputs, outputs = build(case.op, [tensor_type(d, v.shape) for v, d in case.values()])
    graph = Graph(inputs, outputs)
    try:
        text = print_graph(graph)
    except GraphError as refusal:
        if isinstance(case.op, Effect) and "no text form" in str(refusal):
            return  # a Python function is part of the op
        raise
    parsed = parse_graph(text, ops)
    verify(parsed)
    assert print_graph(parsed) == text
    assert parsed.key == graph.key
    assert [n.op for n in parsed.order] == [n.op for n in graph.order]


def check_identity(op: type[Op]) -> None:
    """Documented, sampled, frozen, and equal exactly when the fields are equal."""
    assert op.__doc__, f"{op.__name__} has no docstring"
    samples = list(op.samples())
    assert samples, f"{op.__name__} yields no sample"
    assert all(type(s.op) is op and s.dtypes for s in samples)
    # Operands of some belong together: finite differences along one of them mean nothing.
    if op.differentiable and not issubclass(op, Effect | Share | Gelu):
        assert any(map(gradient_dtypes, samples)), f"no sample checks {op.__name__}'s gradient"
    for a in (s.op for s in samples):
        twin = dataclasses.replace(a)
        assert twin == a
        assert (hash(twin), twin.token) == (hash(a), a.token)
        for other in (s.op for s in samples):
            same = all(getattr(a, f.name) == getattr(other, f.name) for f in dataclasses.fields(op))
            assert (a == other) is (a.token == other.token) is same
    fields = dataclasses.fields(op)
    if fields:
        try:
            setattr(samples[0].op, fields[0].name, None)
        except dataclasses.FrozenInstanceError:
            return
        raise AssertionError(f"{op.__name__} is not frozen")


def gradient_dtypes(sample: Sample) -> list[DType]:
    """The dtypes in which a sample's gradients are compared with finite differences."""
    if not (sample.gradient and sample.op.differentiable):
        return []
    return [d for d in (dtypes.float64, dtypes.complex128) if d in sample.dtypes]


def check_gradients(case: Case) -> None:
    """Gradients of orders 1 and 2 equal central differences in a random direction.

    A complex value counts as two real ones: the gradient of a real L is dL/dRe + i dL/dIm. The
    second order differentiates the cotangents, too.
    """
    values = case.values()
    rng = case.generator()
    rng.standard_normal(7)  # noise is not a copy of the values drawn
    b = OpBuilder()
    inputs, outputs = build(case.op, [tensor_type(d, v.shape) for v, d in values], b)
    arrays = [v for v, _ in values]
    outputs = [o for o in outputs if o.dtype.is_inexact]
    active = [i for i in inputs if i.dtype in (dtypes.float64, dtypes.complex128)]
    if not outputs or not active:
        return
    seeds = [input_node(o.type) for o in outputs]
    arrays += [noise(rng, s) for s in seeds]
    inputs += seeds
    _compare(f"{case}: order 1", rng, b, inputs, arrays, outputs, active, seeds)
    first = [g for g in vjp(b, outputs, active, seeds) if g is not None]
    if first:
        again = [input_node(g.type) for g in first]
        arrays += [noise(rng, s) for s in again]
        inputs += again
        _compare(f"{case}: order 2", rng, b, inputs, arrays, first, [*active, *seeds], again)


def noise(rng: np.random.Generator, node: Node) -> np.ndarray:
    values = rng.standard_normal(node.shape)
    if node.dtype.is_complex:
        values = values + 1j * rng.standard_normal(node.shape)
    return np.asarray(values, node.dtype.compute)


def inner(xs: Sequence[np.ndarray], ys: Sequence[np.ndarray]) -> float:
    """The real inner product of two lists of arrays, complex numbers being pairs."""
    return float(sum(np.sum(np.real(np.conj(x) * y)) for x, y in zip(xs, ys, strict=True)))


def _compare(
    title: str,
    rng: np.random.Generator,
    b: OpBuilder,
    inputs: list[Node],
    arrays: list[np.ndarray],
    outputs: list[Node],
    active: list[Node],
    seeds: list[Node],
) -> None:
    """Compare <gradient, direction> with the change of <seeds, outputs> along the direction."""
    value = dict(zip(inputs, arrays, strict=True))
    weights = [value[s] for s in seeds]
    made = vjp(b, outputs, active, seeds)
    known = [(i, g) for i, g in zip(active, made, strict=True) if g is not None]
    assert all(g.type is i.type for i, g in known), f"{title}: a cotangent of another type"
    backward = Graph(inputs, [g for _, g in known])
    verify(backward)
    gradients = interpret(backward, arrays)
    direction = {i: noise(rng, i) for i in active}
    analytic = inner(gradients, [direction[i] for i, _ in known])
    forward = Graph(inputs, outputs)

    def along(step: float) -> list[np.ndarray]:
        moved = [value[i] + step * direction[i] if i in direction else value[i] for i in inputs]
        return interpret(forward, moved)

    ahead, behind = along(STEP), along(-STEP)
    numeric = inner(weights, [(p - m) / (2 * STEP) for p, m in zip(ahead, behind, strict=True)])
    scale = 1.0 + sum(float(np.abs(g).sum()) for g in gradients) + inner(ahead, ahead) ** 0.5
    assert abs(analytic - numeric) <= 1e-7 * scale, (
        f"{title}: the gradient is {analytic}, finite differences give {numeric}"
    )
