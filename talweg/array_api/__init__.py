"""The array API standard, 2025.12: `x.__array_namespace__()` of a Tensor.

Programs written for the standard (https://data-apis.org/array-api) run on Tensors. Names and rules
are the standard's where they differ from PyTorch's; the functions are those of `tw`, so they are
recorded, compiled and differentiated alike. Note 016 says what differs.

>>> import talweg as tw
>>> xp = tw.ones(2).__array_namespace__()
>>> xp.concat([xp.ones(1), xp.zeros(2, dtype=xp.float64)])
tensor([1., 0., 0.], dtype=talweg.float64)
"""

from __future__ import annotations

import sys
from math import e, inf, nan, pi
from types import ModuleType
from typing import TYPE_CHECKING, Any

from talweg.array_api import fft, linalg
from talweg.array_api.creation import (
    arange,
    asarray,
    empty,
    empty_like,
    eye,
    from_dlpack,
    full,
    full_like,
    linspace,
    meshgrid,
    ones,
    ones_like,
    tril,
    triu,
    zeros,
    zeros_like,
)
from talweg.array_api.elementwise import FUNCTIONS_HERE as _ELEMENTWISE
from talweg.array_api.info import VERSION as __array_api_version__
from talweg.array_api.info import VERSIONS as _VERSIONS
from talweg.array_api.info import Info as __array_namespace_info__
from talweg.array_api.kinds import astype, can_cast, finfo, iinfo, isdtype, result_type
from talweg.array_api.reductions import (
    all,
    any,
    argmax,
    argmin,
    argsort,
    count_nonzero,
    cumulative_prod,
    cumulative_sum,
    diff,
    isin,
    max,
    mean,
    min,
    nonzero,
    prod,
    searchsorted,
    sort,
    std,
    sum,
    unique_all,
    unique_counts,
    unique_inverse,
    unique_values,
    var,
    where,
)
from talweg.array_api.shaping import (
    broadcast_arrays,
    broadcast_shapes,
    broadcast_to,
    concat,
    expand_dims,
    flip,
    matmul,
    matrix_transpose,
    moveaxis,
    permute_dims,
    repeat,
    reshape,
    roll,
    squeeze,
    stack,
    take,
    take_along_axis,
    tensordot,
    tile,
    unstack,
    vecdot,
)
from talweg.base.dtypes import (
    bool_ as bool,
)
from talweg.base.dtypes import (
    complex64,
    complex128,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from talweg.base.errors import InvalidValue

__all__ = [
    "__array_api_version__",
    "__array_namespace_info__",
    "all",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "asarray",
    "astype",
    "bool",
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "can_cast",
    "complex128",
    "complex64",
    "concat",
    "count_nonzero",
    "cumulative_prod",
    "cumulative_sum",
    "diff",
    "e",
    "empty",
    "empty_like",
    "expand_dims",
    "eye",
    "fft",
    "finfo",
    "flip",
    "float32",
    "float64",
    "from_dlpack",
    "full",
    "full_like",
    "iinfo",
    "inf",
    "int16",
    "int32",
    "int64",
    "int8",
    "isdtype",
    "isin",
    "linalg",
    "linspace",
    "matmul",
    "matrix_transpose",
    "max",
    "mean",
    "meshgrid",
    "min",
    "moveaxis",
    "nan",
    "newaxis",
    "nonzero",
    "ones",
    "ones_like",
    "permute_dims",
    "pi",
    "prod",
    "repeat",
    "reshape",
    "result_type",
    "roll",
    "searchsorted",
    "sort",
    "squeeze",
    "stack",
    "std",
    "sum",
    "take",
    "take_along_axis",
    "tensordot",
    "tile",
    "tril",
    "triu",
    "uint16",
    "uint32",
    "uint64",
    "uint8",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "unstack",
    "var",
    "vecdot",
    "where",
    "zeros",
    "zeros_like",
]
__all__ += list(_ELEMENTWISE)

newaxis = None
globals().update(_ELEMENTWISE)


def of_version(api_version: str | None = None) -> ModuleType:
    """Return this module.

    Args:
        api_version: of the standard; every one so far is met by the latest.

    Raises:
        InvalidValue: for a version that is not known.
    """
    if api_version is not None and api_version not in _VERSIONS:
        raise InvalidValue(
            f"version {api_version!r} of the array API is not known; {_VERSIONS} are"
        )
    return sys.modules[__name__]


if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
