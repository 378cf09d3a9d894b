"""What programs look for under `torch.utils`: activations computed again, and data."""

from __future__ import annotations

from talweg import data
from talweg.utils import checkpoint

__all__ = ["checkpoint", "data"]
