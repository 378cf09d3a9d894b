"""The machine code of every op's nest against the nest interpreter, on the op's own samples.

Vectors are made short, so that the few elements of a sample fill some and leave a rest.
"""

from __future__ import annotations

import numpy as np
import pytest

from talweg.ir.types import tensor_type
from talweg.ops import OPS
from talweg.ops.kinds import Contract, Elementwise, Generate, View
from tests.codegen.machine import check_same
from tests.suite.cases import Case, cases_of, lowered

ALL = [case for op in OPS if op.lowered for case in cases_of(op)]


def is_quick(case: Case) -> bool:
    """The first sample in every dtype, the others in their first; contractions are slow."""
    first = case.dtype is case.sample.dtypes[0]
    return first or (case.number == 0 and not isinstance(case.op, Contract))


def check(case: Case, only: tuple[str, ...]) -> None:
    values = case.values()
    made = lowered(case.op, [tensor_type(d, v.shape) for v, d in values])
    arrays = [v for v, _ in values]
    if isinstance(case.op, View | Generate):
        check_same(made.nest, arrays, made.values, 0, 0.0, only)
        return
    drawn = [float(np.abs(v).max(initial=0)) for v, d in values if d.is_inexact]
    size = 0.0 if isinstance(case.op, Elementwise) else max(drawn, default=0.0)
    check_same(made.nest, arrays, made.values, max(4.0, case.sample.tolerance), size, only)


@pytest.mark.parametrize("case", [c for c in ALL if is_quick(c)], ids=str)
def test_machine_code_agrees_with_the_interpreter(case: Case) -> None:
    check(case, ("quick16",))


@pytest.mark.slow
@pytest.mark.parametrize(("case", "turn"), [(c, i % 2) for i, c in enumerate(ALL)], ids=str)
def test_on_every_machine(case: Case, turn: int) -> None:
    """The rest of the product of samples and dtypes takes turns on the machines."""
    machines = ("host", "sse2")
    check(case, machines if is_quick(case) else machines[turn : turn + 1])
