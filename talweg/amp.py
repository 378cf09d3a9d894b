"""Mixed precision for users: `autocast`, `GradScaler`, and decorators of `autograd.Function`."""

from __future__ import annotations

from talweg.engine.autocast import autocast, custom_bwd, custom_fwd, is_autocast_available
from talweg.optim.scaling import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
