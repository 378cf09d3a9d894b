"""Every registered op against its own samples: see `cases.py`."""

from __future__ import annotations

import pytest

from talweg.ir.op import Op
from talweg.ops import BY_NAME, OPS
from tests.suite.cases import (
    Case,
    cases_of,
    check_gradients,
    check_identity,
    check_reference,
    check_text,
    gradient_dtypes,
)

CASES = [case for op in OPS for case in cases_of(op)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_reference_agrees_with_infer_and_with_wider_arithmetic(case: Case) -> None:
    check_reference(case)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.dtype in gradient_dtypes(c.sample)], ids=str
)
def test_gradients_equal_finite_differences(case: Case) -> None:
    check_gradients(case)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name())
def test_identity_follows_from_fields(op: type[Op]) -> None:
    check_identity(op)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name())
def test_text_prints_and_parses_back(op: type[Op]) -> None:
    for case in cases_of(op):
        check_text(case, BY_NAME)


def test_names_are_distinct() -> None:
    assert len({op.name() for op in OPS}) == len(OPS)
