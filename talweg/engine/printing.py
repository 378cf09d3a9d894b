"""The text of a Tensor, in PyTorch's form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import InvalidValue
from talweg.base.frozen import frozen
from talweg.engine.meta import is_meta
from talweg.engine.state import STATE
from talweg.engine.tensor import Tensor, values


@frozen
class _Options:
    """How Tensors are printed; see `set_printoptions`."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": _Options(),
    "short": _Options(precision=2, edgeitems=2),
    "full": _Options(threshold=float("inf")),
}
_options = _PROFILES["default"]


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how Tensors are printed; what is not given stays.

    Args:
        precision: digits behind the point (4).
        threshold: a Tensor of more elements is printed with its middle left out (1000).
        edgeitems: how many elements stay at both ends of a dimension then (3).
        linewidth: characters in a line (80).
        profile: "default", "short" or "full": where all options start from.
        sci_mode: write powers of ten always or never; None: where numbers differ much.

    Raises:
        InvalidValue: for another profile.

    Example:
        >>> import talweg as tw
        >>> tw.set_printoptions(precision=2)
        >>> tw.tensor([0.123456])
        tensor([0.12])
        >>> tw.set_printoptions(profile="default")
    """
    global _options
    if profile is not None and profile.lower() not in _PROFILES:
        raise InvalidValue(f"profile {profile!r} must be one of {', '.join(_PROFILES)}")
    start = _options if profile is None else _PROFILES[profile.lower()]
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    known = {name: value for name, value in given.items() if value is not None}
    _options = replace(start, **known, sci_mode=sci_mode)  # type: ignore[arg-type]


def _float_texts(array: np.ndarray) -> list[str]:
    """Return texts of one form, as wide as the widest of the finite numbers other than zero."""
    counted = array[np.isfinite(array) & (array != 0)].astype(np.float64)
    sizes = np.abs(counted)
    whole = bool(np.all(sizes == np.floor(sizes)))
    high, low = sizes.max(initial=0), sizes.min(initial=np.inf)
    form = f".{_options.precision}f"
    far = counted.size and (high / low > 1000 or high > 1e8 or (not whole and low < 1e-4))
    if far if _options.sci_mode is None else _options.sci_mode:
        form = f".{_options.precision}e"
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
    edge = _options.edgeitems
    for axis, n in enumerate(array.shape):
        if n > 2 * edge:
            kept = [*range(edge), *range(n - edge, n)]
            array = np.take(array, kept, axis)
    return array


def _block(cells: np.ndarray, shape: tuple[int, ...], indent: int, cut: bool) -> str:
    if not cells.ndim:
        return str(cells)
    parts = list(cells)
    width = max(map(len, parts), default=1)
    if cells.ndim > 1:
        parts = [_block(c, shape[1:], indent + 1, cut) for c in cells]
    edge = _options.edgeitems
    if cut and shape[0] > 2 * edge:
        parts[edge:edge] = ["..." if cells.ndim > 1 else " ..."]
    if cells.ndim > 1:
        gap = "," + "\n" * (cells.ndim - 1) + " " * (indent + 1)
        return "[" + gap.join(parts) + "]"
    per_line = max(1, (_options.linewidth - indent) // (width + 2))
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
    if is_meta(self):
        notes = ["device='meta'", f"size={tuple(self.shape)}"]
        if self.dtype is not STATE.builder.default_float:
            notes.append(f"dtype={self.dtype!r}")
        return name + _with_notes("tensor(...", notes) + ")"
    array = values(self)
    cut = array.size > _options.threshold
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
    return name + _with_notes(f"tensor({body}", notes) + ")"


def _with_notes(head: str, notes: list[str]) -> str:
    """Return the text with its notes behind, each on a line of its own where it does not fit."""
    used = len(head) - head.rfind("\n") + 1
    for note in notes:
        fits = used + len(note) + 2 <= _options.linewidth
        head += (", " if fits else ",\n" + " " * len("tensor(")) + note
        used = (used + 2 if fits else len("tensor(")) + len(note)
    return head


def formatted(self: Tensor, specification: str) -> str:
    """Support f-strings: one element without dimensions is formatted as its number.

    A Parameter without a format, and Tensors with dimensions, take the printed form.
    """
    if not self.shape and (specification or type(self) is Tensor):
        return format(values(self).item(), specification)
    return format(text(self), specification)
