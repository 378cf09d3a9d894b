"""The example nests of `tests/loops`, with the results of machine code in the interpreter's place.

The tests are those of `test_kinds` and `test_functions`; only their fixture `run_rule` differs: it
compares machine code with the interpreter and hands its results to the NumPy oracle. One of them
asks for NumPy's last bit of every function, and is left to the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from talweg.base.dtypes import DType
from talweg.loops.affine import simplify_nest
from talweg.loops.build import lower
from tests.codegen.machine import check_same, launch_nest, targets
from tests.loops import test_functions, test_kinds
from tests.loops.conftest import Type, type_of

BOTH = {**vars(test_functions), **vars(test_kinds)}
USING_RULES = {
    name: test
    for name, test in BOTH.items()
    if name.startswith("test_")
    and "run_rule" in test.__code__.co_varnames
    and not name.startswith("test_every_function_answers")
}
globals().update(USING_RULES)


def _run_rule(
    rule: Callable[..., Any],
    arrays: Sequence[np.ndarray],
    outputs: Sequence[tuple[DType, tuple[int, ...]]],
    elementwise: bool = False,
) -> Any:
    made = lower(
        "kernel", rule, [type_of(a) for a in arrays], [Type(*o) for o in outputs], elementwise
    )
    floats = [a[np.isfinite(a)] for a in arrays if a.dtype.kind == "f"]
    size = max((float(np.abs(a).max(initial=1)) for a in floats), default=1.0)
    check_same(made.nest, arrays, made.values, 16, size, ("sse2", "short8", "short16"))
    nest = simplify_nest(made.nest)
    results = launch_nest(nest, arrays, made.values, targets()["short16"])
    return results[0] if len(results) == 1 else results


@pytest.fixture
def run_rule() -> Callable[..., Any]:
    return _run_rule


def test_there_are_examples_of_every_kind() -> None:
    assert len(USING_RULES) > 25
