"""Mixed precision on the CPU, under the older names without a device."""

from __future__ import annotations

from talweg.base.dtypes import DType, bfloat16
from talweg.engine import autocast as regions
from talweg.optim import scaling

__all__ = ["GradScaler", "autocast"]


class autocast(regions.autocast):
    """`tw.autocast("cpu", ...)`.

    Args:
        enabled, dtype, cache_enabled: as there.
    """

    def __init__(
        self, enabled: bool = True, dtype: DType = bfloat16, cache_enabled: bool = True
    ) -> None:
        super().__init__("cpu", dtype, enabled, cache_enabled)


class GradScaler(scaling.GradScaler):
    """`tw.amp.GradScaler("cpu", ...)`.

    Args:
        init_scale, growth_factor, backoff_factor, growth_interval, enabled: as there.
    """

    def __init__(
        self,
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        super().__init__("cpu", init_scale, growth_factor, backoff_factor, growth_interval, enabled)
