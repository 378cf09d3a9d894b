"""The skeleton of contractions: packed panels, tiles of registers, fused epilogues."""

from __future__ import annotations

from talweg.codegen.contraction.kernel import emit

__all__ = ["emit"]
