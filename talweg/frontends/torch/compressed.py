"""torch.sparse: rows or columns given by where they begin, and functions of what is not zero.

As in `places`, Tensors are kept with their zeros. What is zero counts as not given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import InvalidValue, ShapeError
from talweg.engine import creation
from talweg.engine.conversion import layout, strided
from talweg.engine.functions import FUNCTIONS
from talweg.engine.subscript import nonzero
from talweg.engine.tensor import Tensor
from talweg.frontends.torch.places import sparse_coo_tensor
from talweg.nn import functional as F


class _Layout(layout):
    """A way to store Tensors that is accepted; all are stored with their zeros."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> Any:
        return _Layout, (self.name,)


_NAMES = ("sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc")
LAYOUTS = {name: _Layout(name) for name in _NAMES}


def _rows_of(name: str, starts: Tensor, count: int) -> Tensor:
    """Return the row of each of `count` values, of where rows begin."""
    if starts.ndim != 1 or not starts.numel():
        raise ShapeError(
            f"{name}: compressed indices must be 1-D and not empty, got {starts.shape}"
        )
    listed = starts.tolist()
    if listed[0] != 0 or listed[-1] != count or sorted(listed) != listed:
        raise InvalidValue(
            f"{name}: compressed indices must rise from 0 to the number of values, {count}"
        )
    rows = [row for row, (a, b) in enumerate(pairwise(listed)) for _ in range(b - a)]
    return creation.tensor(rows, dtypes.int64)


def _compressed(
    name: str, starts: Any, plain: Any, values: Any, size: Any, by_rows: bool, blocks: bool
) -> Tensor:
    """Return the Tensor whose rows (or columns) `starts` begins, with values or blocks of them."""
    ends, others = (creation.as_tensor(v).to(dtypes.int64) for v in (starts, plain))
    held = creation.as_tensor(values)
    if ends.ndim > 1:
        parts = zip(ends, others, held, strict=True)
        wanted = None if size is None else size[1:]
        made: Tensor = FUNCTIONS["stack"](
            [_compressed(name, a, b, c, wanted, by_rows, blocks) for a, b, c in parts]
        )
        return made
    if others.ndim != 1 or held.ndim < 1 + 2 * blocks or held.shape[0] != others.shape[0]:
        raise ShapeError(f"{name}: plain indices {others.shape} do not fit values {held.shape}")
    lines = _rows_of(name, ends, int(others.shape[0]))
    pair = (lines, others) if by_rows else (others, lines)
    places = FUNCTIONS["stack"](pair)
    block = tuple(held.shape[1:3]) if blocks else (1, 1)
    if size is None:
        across = int(others.max()) + 1 if others.shape[0] else 0
        counts = (ends.shape[0] - 1, across) if by_rows else (across, ends.shape[0] - 1)
        size = (counts[0] * block[0], counts[1] * block[1], *held.shape[1 + 2 * blocks :])
    shape = tuple(int(n) for n in size)
    if not blocks:
        return sparse_coo_tensor(places, held, shape)
    if shape[0] % block[0] or shape[1] % block[1]:
        raise ShapeError(f"{name}: blocks of {block} do not cover {shape}")
    grid = (shape[0] // block[0], shape[1] // block[1], *held.shape[1:])
    wide = sparse_coo_tensor(places, held, grid)
    turned: Tensor = wide.transpose(1, 2).reshape(shape)
    return turned


def _finished(made: Tensor, dtype: DType | None, requires_grad: bool) -> Tensor:
    made = made if dtype is None else made.to(dtype)
    return made.requires_grad_() if requires_grad else made


def _constructor(name: str, by_rows: bool, blocks: bool) -> Callable[..., Tensor]:
    first, second = ("crow", "col") if by_rows else ("ccol", "row")

    def made(
        starts: Any,
        plain: Any,
        values: Any,
        size: Sequence[int] | None = None,
        *,
        dtype: DType | None = None,
        device: Any = None,
        pin_memory: bool = False,
        requires_grad: bool = False,
        check_invariants: bool | None = None,
    ) -> Tensor:
        found = _compressed(name, starts, plain, values, size, by_rows, blocks)
        return _finished(found, dtype, requires_grad)

    def constructor(*args: Any, **options: Any) -> Tensor:
        own = {f"{first}_indices": "starts", f"{second}_indices": "plain"}
        return made(*args, **{own.get(key, key): value for key, value in options.items()})

    what = "blocks of values" if blocks else "values"
    constructor.__name__ = name
    constructor.__doc__ = (
        f"Return the Tensor with {what} at `{second}_indices` of each "
        f"{'row' if by_rows else 'column'}, which begin at `{first}_indices`, and zeros elsewhere."
        "\n\nBatches have the same number of values each. `dtype`, `device` and `requires_grad` "
        "are those of the result; gradients reach the values.\n\nRaises:\n    ShapeError, "
        "InvalidValue, IndexOutOfRange: when indices, values and size do not fit."
    )
    return constructor


sparse_csr_tensor = _constructor("sparse_csr_tensor", True, False)
sparse_csc_tensor = _constructor("sparse_csc_tensor", False, False)
sparse_bsr_tensor = _constructor("sparse_bsr_tensor", True, True)
sparse_bsc_tensor = _constructor("sparse_bsc_tensor", False, True)


def sparse_compressed_tensor(
    compressed_indices: Any,
    plain_indices: Any,
    values: Any,
    size: Sequence[int] | None = None,
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
) -> Tensor:
    """Return the Tensor that a compressed layout (`torch.sparse_csr` and the like) describes.

    Raises:
        InvalidValue: without such a layout.

    >>> from talweg.frontends import torch
    >>> torch.sparse_compressed_tensor([0, 1, 2], [1, 0], [5.0, 6.0], layout=torch.sparse_csr)
    tensor([[0., 5.],
            [6., 0.]])
    """
    name = getattr(layout, "name", "")
    if name not in _NAMES[1:]:
        raise InvalidValue(f"sparse_compressed_tensor: a compressed layout is needed, got {layout}")
    by_rows, blocks = "csr" in name or "bsr" in name, "_b" in name
    how = (values, size, by_rows, blocks)
    found = _compressed("sparse_compressed_tensor", compressed_indices, plain_indices, *how)
    return _finished(found, dtype, requires_grad)


def softmax(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Return the softmax over a dimension of what is not zero; zeros stay zeros.

    Args:
        input: of at least one dimension.
        dim: along which.
        dtype: to which the input is converted first.

    >>> from talweg.frontends import torch
    >>> torch.sparse.softmax(torch.tensor([[0.0, 1.0, 1.0]]).to_sparse(), 1)
    tensor([[0.0000, 0.5000, 0.5000]])
    """
    x = input if dtype is None else input.to(dtype)
    given, shown = _given(x)
    made: Tensor = FUNCTIONS["where"](given, F.softmax(shown, dim), 0.0)
    return made


def log_softmax(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Return the logarithm of `softmax` where the input is not zero, and zeros elsewhere."""
    x = input if dtype is None else input.to(dtype)
    given, shown = _given(x)
    made: Tensor = FUNCTIONS["where"](given, F.log_softmax(shown, dim), 0.0)
    return made


def _given(x: Tensor) -> tuple[Tensor, Tensor]:
    given = FUNCTIONS["ne"](x, 0)
    return given, FUNCTIONS["where"](given, x, -1e30 if x.dtype.bits > 16 else -3e4)


def sampled_addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0
) -> Tensor:
    """Return `beta * input + alpha * (mat1 @ mat2)` where the input is not zero."""
    made: Tensor = FUNCTIONS["where"](
        FUNCTIONS["ne"](input, 0), beta * input + alpha * (mat1 @ mat2), 0.0
    )
    return made


def spdiags(diagonals: Tensor, offsets: Tensor, shape: Sequence[int], layout: Any = None) -> Tensor:
    """Return the matrix with rows of a Tensor as its diagonals.

    Args:
        diagonals: (count, length); an element stands in the column that is its place in the row.
        offsets: (count,); 0 is the main diagonal, 1 the one above.
        shape: of the matrix.
        layout: accepted.

    Raises:
        ShapeError: when the sizes do not fit.
        InvalidValue: for an offset that comes twice.
    """
    rows = diagonals.reshape(1, -1) if diagonals.ndim < 2 else diagonals
    listed = offsets.reshape(-1).tolist()
    if len(listed) != rows.shape[0] or len(shape) != 2:
        raise ShapeError(f"spdiags: {rows.shape[0]} diagonals, {len(listed)} offsets, {shape}")
    if len(set(listed)) != len(listed):
        raise InvalidValue("spdiags: offset tensor contains duplicate values")
    found = [
        (d, column - k, column)
        for d, k in enumerate(listed)
        for column in range(max(k, 0), min(shape[1], shape[0] + k, rows.shape[1]))
    ]
    if not found:
        return creation.zeros(tuple(shape), dtype=rows.dtype)
    which = creation.tensor(found, dtypes.int64).t()
    return sparse_coo_tensor(which[1:], rows[which[0], which[2]], shape)


def spsolve(input: Tensor, other: Tensor, *, left: bool = True) -> Tensor:
    """Return the solution x of `input @ x = other`.

    Raises:
        NotImplementedError: unless `left`.
    """
    if not left:
        raise NotImplementedError("torch.sparse.spsolve: left=False is not in talweg")
    linear: Tensor = FUNCTIONS["inverse"](input) @ other
    return linear


# ---------------------------------------------------------------------------------------------
# what a Tensor says of itself


def _matrix(x: Tensor, name: str) -> Tensor:
    if x.ndim < 2:
        raise ShapeError(f"{name} needs a matrix, got {x.shape}")
    given: Tensor = FUNCTIONS["ne"](x, 0)
    wide: Tensor = given if x.ndim == 2 else given.flatten(2).any(2)
    return wide


def _starts(given: Tensor, dim: int) -> Tensor:
    made: Tensor = FUNCTIONS["cat"](
        [creation.zeros(1, dtype=dtypes.int64), given.sum(dim).cumsum(0)]
    )
    return made


def crow_indices(self: Tensor) -> Tensor:
    """Return where rows begin among the values that are not zero.

    >>> from talweg.frontends import torch
    >>> torch.tensor([[0.0, 2.0], [3.0, 4.0]]).to_sparse_csr().crow_indices()
    tensor([0, 1, 3])
    """
    return _starts(_matrix(self, "crow_indices"), 1)


def col_indices(self: Tensor) -> Tensor:
    """Return the columns of the values that are not zero, row by row."""
    made: Tensor = nonzero(_matrix(self, "col_indices"))[:, 1]
    return made


def ccol_indices(self: Tensor) -> Tensor:
    """Return where columns begin among the values that are not zero."""
    return _starts(_matrix(self, "ccol_indices"), 0)


def row_indices(self: Tensor) -> Tensor:
    """Return the rows of the values that are not zero, column by column."""
    made: Tensor = nonzero(_matrix(self, "row_indices").t())[:, 1]
    return made


def to_sparse_csr(self: Tensor, dense_dim: int | None = None) -> Tensor:
    """Return this Tensor, which is kept with its zeros."""
    if self.ndim < 2:
        raise ShapeError(f"to_sparse_csr needs a matrix, got {self.shape}")
    return self


def to_sparse_bsr(self: Tensor, blocksize: Sequence[int], dense_dim: int | None = None) -> Tensor:
    """Return this Tensor, which is kept with its zeros."""
    return to_sparse_csr(self)


def sparse_dim(self: Tensor) -> int:
    """Return the number of dimensions."""
    return self.ndim


def dense_dim(self: Tensor) -> int:
    """Return 0."""
    return 0


def is_coalesced(self: Tensor) -> bool:
    """Return True: equal places were added when they were given."""
    return True


def sparse_mask(self: Tensor, mask: Tensor) -> Tensor:
    """Return this Tensor where a mask is not zero, and zeros elsewhere."""
    made: Tensor = FUNCTIONS["where"](FUNCTIONS["ne"](mask, 0), self, 0)
    return made


def smm(input: Tensor, mat: Tensor) -> Tensor:
    """Return the product of two matrices."""
    made: Tensor = FUNCTIONS["mm"](input, mat)
    return made


def sspaddmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Return `beta * input + alpha * (mat1 @ mat2)`."""
    made: Tensor = FUNCTIONS["addmm"](input, mat1, mat2, beta=beta, alpha=alpha)
    return made


class check_sparse_tensor_invariants:
    """Accepts whether indices are to be checked: they always are."""

    def __init__(self, enable: bool = True) -> None:
        self.state = enable

    @staticmethod
    def is_enabled() -> bool:
        """Return True."""
        return True

    @staticmethod
    def enable() -> None:
        """Do nothing: indices are checked."""

    @staticmethod
    def disable() -> None:
        """Do nothing: indices are checked."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *failure: Any) -> None:
        return None


_METHODS: dict[str, Callable[..., Any]] = {
    "ccol_indices": ccol_indices,
    "col_indices": col_indices,
    "crow_indices": crow_indices,
    "dense_dim": dense_dim,
    "is_coalesced": is_coalesced,
    "row_indices": row_indices,
    "smm": smm,
    "sparse_dim": sparse_dim,
    "sparse_mask": sparse_mask,
    "sspaddmm": sspaddmm,
    **dict.fromkeys(("to_sparse_bsc", "to_sparse_bsr"), to_sparse_bsr),
    **dict.fromkeys(("to_sparse_csc", "to_sparse_csr"), to_sparse_csr),
}
for _name, _method in _METHODS.items():
    setattr(Tensor, _name, _method)

MODULES: dict[str, dict[str, Any]] = {
    "": {
        **LAYOUTS,
        "strided": strided,
        "hspmm": smm,
        "smm": smm,
        "sspaddmm": sspaddmm,
        "sparse_csr_tensor": sparse_csr_tensor,
        "sparse_csc_tensor": sparse_csc_tensor,
        "sparse_bsr_tensor": sparse_bsr_tensor,
        "sparse_bsc_tensor": sparse_bsc_tensor,
        "sparse_compressed_tensor": sparse_compressed_tensor,
    },
    "sparse": {
        "softmax": softmax,
        "log_softmax": log_softmax,
        "sampled_addmm": sampled_addmm,
        "spdiags": spdiags,
        "spsolve": spsolve,
        "check_sparse_tensor_invariants": check_sparse_tensor_invariants,
    },
}
