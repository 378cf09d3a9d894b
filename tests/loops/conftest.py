"""`run_rule`: lower a rule, and run its nest in every way that must not change the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.loops.affine import simplify_nest
from talweg.loops.build import lower
from talweg.loops.interpret import interpret
from talweg.loops.text import format_nest, parse
from talweg.loops.verify import verify


@dataclass(frozen=True)
class Type:
    dtype: DType
    shape: tuple[int, ...]


def type_of(array: np.ndarray) -> Type:
    return Type(dtypes.from_numpy(array.dtype), array.shape)


def _run_rule(
    rule: Callable[..., Any],
    arrays: Sequence[np.ndarray],
    outputs: Sequence[tuple[DType, tuple[int, ...]]],
    elementwise: bool = False,
) -> Any:
    lowered = lower(
        "kernel", rule, [type_of(a) for a in arrays], [Type(*o) for o in outputs], elementwise
    )
    nest = lowered.nest
    assert parse(format_nest(nest)) == nest
    simple = simplify_nest(nest)
    verify(simple)
    results = interpret(nest, arrays, lowered.values)
    for one, other in zip(results, interpret(simple, arrays, lowered.values), strict=True):
        np.testing.assert_array_equal(one, other)
    for result, (dtype, shape) in zip(results, outputs, strict=True):
        assert result.dtype == dtype.compute
        assert result.shape == shape
    return results[0] if len(results) == 1 else results


@pytest.fixture
def run_rule() -> Callable[..., Any]:
    return _run_rule
