"""What programs look for under `torch.utils`: activations computed again, data, DLPack."""

from __future__ import annotations

from talweg import data
from talweg.utils import checkpoint, dlpack

__all__ = ["checkpoint", "data", "dlpack"]
