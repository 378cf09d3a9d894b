"""What this implementation of the array API standard offers."""

from __future__ import annotations

from talweg.array_api.kinds import STANDARD, default_float, isdtype
from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.engine.conversion import CPU, device

VERSION = "2025.12"
VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", VERSION)


class Info:
    """The answers of `__array_namespace_info__()`."""

    __slots__ = ()

    def capabilities(self) -> dict[str, bool | int]:
        """Return what is optional in the standard: boolean subscripts and the like are here."""
        return {
            "boolean indexing": True,
            "data-dependent shapes": True,
            "max dimensions": 64,
        }

    def default_device(self) -> device:
        """Return where new arrays are: the CPU."""
        return CPU

    def devices(self) -> tuple[device, ...]:
        """Return where arrays can be: the CPU."""
        return (CPU,)

    def default_dtypes(self, *, device: object = None) -> dict[str, DType]:
        """Return the dtypes of new arrays of each kind."""
        real = default_float()
        parts = dtypes.complex128 if real is dtypes.float64 else dtypes.complex64
        return {
            "real floating": real,
            "complex floating": parts,
            "integral": dtypes.int64,
            "indexing": dtypes.int64,
        }

    def dtypes(
        self, *, device: object = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, DType]:
        """Return the dtypes of the standard, all or those of some kinds, by their names."""
        return {d.name: d for d in STANDARD if kind is None or isdtype(d, kind)}
