"""Random numbers of distributions that are drawn by rejection: NumPy's generator draws them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import ShapeError
from talweg.base.frozen import frozen
from talweg.base.special import digamma
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType
from talweg.ops.kinds import Routine, check_dtype

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node

KINDS = {"gamma": 1, "poisson": 1, "binomial": 2, "vonmises": 1}
FLOATS = (dtypes.float32, dtypes.float64)


@frozen
class HostDraw(Routine):
    """Numbers of a distribution, one for each element of its parameters.

    Operands are a key and an offset, 0-d uint64, then the parameters: gamma (concentration),
    poisson (rate), binomial (count, probability), vonmises (concentration; the mean is 0).

    1. The same key and offset give the same numbers.
    2. Parameters have one type, float32 or float64; numbers are drawn in double precision.
    3. Only gamma has a gradient, with respect to its concentration.
    """

    kind: str

    def infer(self, *types: TensorType) -> TensorType:
        key, offset, *parameters = types
        if len(parameters) != KINDS[self.kind] or key.rank or offset.rank:
            raise ShapeError(f"{self.kind}: key, offset and {KINDS[self.kind]} parameters wanted")
        if any(p is not parameters[0] for p in parameters):
            raise ShapeError(f"{self.kind}: parameters of one type wanted, got {parameters}")
        check_dtype(self, parameters[0].dtype, FLOATS)
        return parameters[0]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        key, offset, *parameters = arrays
        stream = np.random.Philox(key=int(key), counter=int(offset) << 128)
        draws = np.random.Generator(stream)
        first, *rest = (np.asarray(p, np.float64) for p in parameters)
        out: np.ndarray
        if self.kind == "gamma":
            out = draws.standard_gamma(first)
        elif self.kind == "poisson":
            out = draws.poisson(first)
        elif self.kind == "binomial":
            out = draws.binomial(first.astype(np.int64), rest[0])
        else:
            out = draws.vonmises(0.0, first)
        return np.asarray(out).astype(parameters[0].dtype)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        if self.kind != "gamma":
            return (None,) * len(node.inputs)
        return None, None, b.mul(cotangents[0], b.gamma_slope(node.inputs[2], node))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        key, offset = np.array(7, np.uint64), np.array(3, np.uint64)
        for kind, count in KINDS.items():
            parameters = (np.full((2, 3), 3.0), np.full((2, 3), 0.25))[:count]
            for dtype in FLOATS:
                given = [p.astype(dtype.compute) for p in parameters]
                yield Sample(cls(kind), (key, offset, *given), (dtype,), gradient=False)


@frozen
class GammaSlope(Routine):
    """How a gamma variate changes with its concentration where the probability below it is kept.

    Source: Figurnov, Mohamed and Mnih, "Implicit reparameterization gradients", 2018; the
    probability by its power series, differentiated term by term.
    """

    differentiable = False

    def infer(self, *types: TensorType) -> TensorType:
        check_dtype(self, types[0].dtype, FLOATS)
        if types[0] is not types[1]:
            raise ShapeError(f"gamma_slope: operands of one type wanted, got {types}")
        return types[0]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        a, x = (np.asarray(v, np.float64) for v in arrays)
        term, total, slope, rate = (np.full(a.shape, v) for v in (1.0, 1.0, 0.0, 0.0))
        for k in range(1, 100_000):
            term = term * x / (a + k)
            rate = rate - 1 / (a + k)
            total, slope = total + term, slope + term * rate
            if not (np.abs(term * rate) > 1e-17 * np.abs(slope)).any():
                break
        out = -x / a * (total * (np.log(x) - digamma(a + 1)) + slope)
        return np.where(x > 0, out, 0.0).astype(arrays[0].dtype)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        inputs = Draw((2, 3), 0.5, 4.0), Draw((2, 3), 0.2, 4.0)
        yield Sample(cls(), inputs, FLOATS, 512, gradient=False)


OPS: tuple[type[Op], ...] = (HostDraw, GammaSlope)
