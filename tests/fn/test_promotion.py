"""Promotion: three categories of operands, as PyTorch documents them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from talweg.base import dtypes as d
from talweg.base.errors import DTypeError, ShapeError
from talweg.fn import math, promotion
from talweg.ir.node import input_node
from talweg.ir.types import tensor_type


def one(dtype: d.DType, *shape: int) -> Any:
    return input_node(tensor_type(dtype, shape), np.zeros(shape, dtype.storage))


CASES = [
    ((one(d.int8, 2), 300), d.int8),
    ((one(d.int8, 2), 0.5), d.float32),
    ((one(d.int8, 2), 1j), d.complex64),
    ((one(d.bool_, 2), 1), d.int64),
    ((one(d.bool_, 2), True), d.bool_),
    ((one(d.float16, 2), 0.5), d.float16),
    ((one(d.float16, 2), one(d.float64)), d.float16),
    ((one(d.float16, 2), one(d.float64, 1)), d.float64),
    ((one(d.int32, 2), one(d.int64)), d.int32),
    ((one(d.int32, 2), one(d.float16)), d.float16),
    ((one(d.float64, 2), one(d.complex64)), d.complex128),
    ((one(d.float64, 2), 1j), d.complex128),
    ((one(d.bfloat16, 2), 1j), d.complex64),
    ((one(d.bfloat16, 2), one(d.float16, 2)), d.float32),
    ((one(d.uint8, 2), one(d.int8, 2)), d.int16),
    ((one(d.int64, 2), one(d.float16, 2)), d.float16),
    ((one(d.int32), 7), d.int32),
    ((one(d.bool_), 7), d.int64),
    ((one(d.int32), 0.5), d.float32),
    ((one(d.uint8, 2), one(d.int32), 0.5), d.float32),
    ((1, 0.5), d.float32),
    ((True,), d.bool_),
]


@pytest.mark.parametrize(("values", "expected"), CASES)
def test_result_type(b: Any, values: Any, expected: d.DType) -> None:
    assert promotion.result_type(b, *values) is expected
    assert promotion.result_type(b, *reversed(values)) is expected


def test_default_float_decides_python_floats(b: Any) -> None:
    b.default_float = d.float64
    assert promotion.result_type(b, one(d.int32, 3), 0.5) is d.float64
    assert promotion.result_type(b, one(d.int32, 3), 0.5j) is d.complex128
    assert promotion.result_type(b, one(d.float32, 3), 0.5) is d.float32
    assert promotion.to_float(b, one(d.int8, 3)).dtype is d.float64


def test_operands_share_dtype_and_shape_and_scalars_stay_scalars(b: Any) -> None:
    x, y, z = promotion.operands(b, one(d.int8, 3, 1), one(d.float32, 4), 2)
    assert x.type is y.type is tensor_type(d.float32, (3, 4))
    assert z.type is tensor_type(d.float32, ())


def test_operands_that_fit_are_left_alone(b: Any) -> None:
    x, y = one(d.float32, 3), one(d.float32, 3)
    assert promotion.operands(b, x, y) == [x, y]


def test_errors_name_what_was_wrong(b: Any) -> None:
    with pytest.raises(ShapeError, match=r"\(3,\) and \(4,\)"):
        math.add(b, one(d.float32, 3), one(d.float32, 4))
    with pytest.raises(DTypeError, match="str"):
        math.add(b, one(d.float32, 3), "1")
    with pytest.raises(DTypeError, match="uint64"):
        math.add(b, one(d.uint64, 3), one(d.int64, 3))
