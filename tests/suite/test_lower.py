"""The loop nest of every op against its reference, on its own samples: see `cases.py`."""

from __future__ import annotations

import pytest

from talweg.ops import OPS
from tests.suite.cases import Case, cases_of, check_nest

CASES = [case for op in OPS if op.lowered for case in cases_of(op)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nest_agrees_with_reference(case: Case) -> None:
    check_nest(case)
