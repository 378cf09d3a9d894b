"""The text of a Tensor, in PyTorch's form."""

from __future__ import annotations

import numpy as np

from talweg.base import dtypes
from talweg.engine.state import STATE
from talweg.engine.tensor import Tensor, values

_EDGE = 3
_THRESHOLD = 1000
_WIDTH = 80
_DIGITS = 4


def _float_texts(array: np.ndarray) -> list[str]:
    """Return texts of one form, as wide as the widest of the finite numbers other than zero."""
    counted = array[np.isfinite(array) & (array != 0)].astype(np.float64)
    sizes = np.abs(counted)
    whole = bool(np.all(sizes == np.floor(sizes)))
    high, low = sizes.max(initial=0), sizes.min(initial=np.inf)
    form = f".{_DIGITS}f"
    if counted.size and (high / low > 1000 or high > 1e8 or (not whole and low < 1e-4)):
        form = f".{_DIGITS}e"
    elif whole:
        form = ".0f"
    dot = "." if form == ".0f" else ""
    width = max((len(format(v, form) + dot) for v in counted), default=0)
    texts = (format(v, form) + (dot if np.isfinite(v) else "") for v in array)
    return [t.rjust(width) for t in texts]


def _texts(array: np.ndarray) -> list[str]:
    if array.dtype.kind == "c":
        real, imag = _float_texts(array.real), map(str.lstrip, _float_texts(array.imag))
        rows = zip(real, imag, strict=True)
        return [f"{r}{'' if i.startswith('-') else '+'}{i}j" for r, i in rows]
    if array.dtype.kind == "f":
        return _float_texts(array)
    plain = [str(v) for v in array.tolist()]
    width = max(map(len, plain), default=0)
    return [t.rjust(width) for t in plain]


def _shown(array: np.ndarray) -> np.ndarray:
    for axis, n in enumerate(array.shape):
        if n > 2 * _EDGE:
            kept = [*range(_EDGE), *range(n - _EDGE, n)]
            array = np.take(array, kept, axis)
    return array


def _block(cells: np.ndarray, shape: tuple[int, ...], indent: int, cut: bool) -> str:
    if not cells.ndim:
        return str(cells)
    parts = list(cells)
    width = max(map(len, parts), default=1)
    if cells.ndim > 1:
        parts = [_block(c, shape[1:], indent + 1, cut) for c in cells]
    if cut and shape[0] > 2 * _EDGE:
        parts[_EDGE:_EDGE] = ["..." if cells.ndim > 1 else " ..."]
    if cells.ndim > 1:
        gap = "," + "\n" * (cells.ndim - 1) + " " * (indent + 1)
        return "[" + gap.join(parts) + "]"
    per_line = max(1, (_WIDTH - indent) // (width + 2))
    lines = [", ".join(parts[i : i + per_line]) for i in range(0, len(parts), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def text(self: Tensor) -> str:
    """Return the printed form: values, then dtype and gradient information where not the default.

    Example:
        >>> import talweg as tw
        >>> tw.tensor([[1.0, 2.5], [-3.0, 4.0]], dtype=tw.float64)
        tensor([[ 1.0000,  2.5000],
                [-3.0000,  4.0000]], dtype=talweg.float64)
    """
    name = "Parameter containing:\n" if type(self).__name__ == "Parameter" else ""
    array = values(self)
    cut = array.size > _THRESHOLD
    shown = _shown(array) if cut else array
    flat = _texts(shown.reshape(-1))
    cells = np.array(flat, dtype=object).reshape(shown.shape)
    body = _block(cells, array.shape, len("tensor("), cut)
    if array.size == 0 and array.ndim != 1:
        body = f"[], size={array.shape}"
    notes = []
    plain = (STATE.builder.default_float, dtypes.int64, dtypes.bool_, dtypes.complex64)
    if self.dtype not in plain or (array.size == 0 and self.dtype not in plain[:1]):
        notes.append(f"dtype={self.dtype!r}")
    if self.grad_fn is not None:
        notes.append(f"grad_fn=<{self.grad_fn.name()}>")
    elif self.requires_grad:
        notes.append("requires_grad=True")
    return f"{name}tensor({', '.join([body, *notes])})"


def formatted(self: Tensor, specification: str) -> str:
    """Support f-strings: `f'{loss:.3f}'` for one element, the printed form without a format."""
    if specification and not self.shape:
        return format(values(self).item(), specification)
    return text(self) if not self.shape or specification == "" else format(str(self), specification)
