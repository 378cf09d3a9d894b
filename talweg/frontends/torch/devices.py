"""What programs ask of GPUs and other devices: they are told that only the CPU is there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from talweg.base.dtypes import DType, float16
from talweg.base.errors import DeviceError
from talweg.engine.autocast import (
    autocast,
    custom_bwd,
    custom_fwd,
    get_autocast_dtype,
    is_autocast_enabled,
)
from talweg.engine.random import get_rng_state, set_rng_state
from talweg.optim.scaling import GradScaler


def _no() -> bool:
    return False


def _none(*args: Any, **options: Any) -> None:
    return None


def _zero(*args: Any, **options: Any) -> int:
    return 0


def absent(what: str) -> Callable[..., Any]:
    """Return a function that raises: it needs a device that is not there."""

    def refuse(*args: Any, **options: Any) -> Any:
        raise DeviceError(f"{what} needs a GPU, which talweg cannot use so far; it offers: cpu")

    refuse.__name__ = what.rpartition(".")[2]
    refuse.__doc__ = f"`{what}`: raises DeviceError, as there is no such device."
    return refuse


class _Nowhere(AbstractContextManager[None]):
    """`with torch.cuda.device(...)`: without a GPU there is nothing to choose."""

    def __init__(self, device: Any = None) -> None:
        if device not in (None, -1):
            absent("torch.cuda.device")()

    def __exit__(self, *failure: Any) -> None:
        return None


class AcceleratorError(RuntimeError):
    """What a device reports; never raised here."""


class OutOfMemoryError(AcceleratorError):
    """A device has no memory left; never raised here."""


def _no_entries(*args: Any, **options: Any) -> dict[str, Any]:
    return {}


def _empty_text(*args: Any, **options: Any) -> str:
    return ""


_ERRORS = {"AcceleratorError": AcceleratorError, "OutOfMemoryError": OutOfMemoryError}
_CUDA_NEEDS = (
    *("current_device", "get_device_name", "get_device_properties", "get_device_capability"),
    *("set_device", "synchronize", "mem_get_info", "current_stream", "default_stream", "stream"),
    *("Stream", "Event", "CUDAGraph", "graph"),
)
_CUDA_NOTHING = (
    *(
        "empty_cache",
        "init",
        "ipc_collect",
        "reset_peak_memory_stats",
        "reset_max_memory_allocated",
    ),
    *("reset_max_memory_cached", "reset_accumulated_memory_stats", "seed", "seed_all"),
)
_CUDA_NUMBERS = (
    *("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved"),
    *("memory_cached", "max_memory_cached", "initial_seed"),
)


def _device_module(name: str, needs: tuple[str, ...] = ()) -> dict[str, Any]:
    nothing = ("empty_cache", "manual_seed", "manual_seed_all", "seed", "seed_all")
    return {
        "is_available": _no,
        "is_initialized": _no,
        "device_count": _zero,
        **dict.fromkeys(nothing, _none),
        **{part: absent(f"torch.{name}.{part}") for part in needs},
    }


def _current_accelerator(check_available: bool = False) -> None:
    """Return None: there is none."""
    return


class cuda_autocast(autocast):
    """`torch.cuda.amp.autocast`: switches nothing on, with a warning, as without a GPU.

    Args:
        enabled, dtype, cache_enabled: accepted.
    """

    def __init__(
        self, enabled: bool = True, dtype: DType = float16, cache_enabled: bool = True
    ) -> None:
        super().__init__("cuda", dtype, enabled, cache_enabled)


class CudaScaler(GradScaler):
    """`torch.cuda.amp.GradScaler`: disabled, with a warning, as without a GPU.

    Args:
        init_scale, growth_factor, backoff_factor, growth_interval, enabled: accepted.
    """

    def __init__(
        self,
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        super().__init__(
            "cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled
        )


_AMP: dict[str, Any] = {"autocast": autocast, "GradScaler": GradScaler}
_CUDA_AMP: dict[str, Any] = {
    "autocast": cuda_autocast,
    "GradScaler": CudaScaler,
    "custom_fwd": partial(custom_fwd, device_type="cuda"),
    "custom_bwd": partial(custom_bwd, device_type="cuda"),
}


MODULES: dict[str, dict[str, Any]] = {
    "accelerator": {
        "is_available": _no,
        "device_count": _zero,
        "current_accelerator": _current_accelerator,
        "synchronize": absent("torch.accelerator.synchronize"),
        "set_device_index": absent("torch.accelerator.set_device_index"),
        "current_device_index": absent("torch.accelerator.current_device_index"),
        "empty_cache": _none,
    },
    "": {
        **_ERRORS,
        "GradScaler": GradScaler,
        "get_autocast_cpu_dtype": partial(get_autocast_dtype, "cpu"),
        "get_autocast_gpu_dtype": partial(get_autocast_dtype, "cuda"),
        "is_autocast_cpu_enabled": partial(is_autocast_enabled, "cpu"),
    },
    "amp.autocast_mode": _AMP,
    "amp.grad_scaler": _AMP,
    "cuda": {
        "is_initialized": _no,
        "is_bf16_supported": _no,
        "is_tf32_supported": _no,
        "get_arch_list": list,
        "memory_summary": _empty_text,
        "memory_stats": _no_entries,
        "device_of": _Nowhere,
        **_ERRORS,
        "device": _Nowhere,
        "get_rng_state": lambda device="cuda": get_rng_state(),
        "set_rng_state": lambda new_state, device="cuda": set_rng_state(new_state),
        "get_rng_state_all": list,
        "set_rng_state_all": _none,
        **{name: absent(f"torch.cuda.{name}") for name in _CUDA_NEEDS},
        **dict.fromkeys(_CUDA_NOTHING, _none),
        **dict.fromkeys(_CUDA_NUMBERS, _zero),
    },
    "cuda.amp": _CUDA_AMP,
    "cuda.amp.autocast_mode": _CUDA_AMP,
    "cuda.amp.grad_scaler": _CUDA_AMP,
    "cuda.nvtx": {"range_push": _none, "range_pop": _none, "range": lambda message: nullcontext()},
    "cuda.random": {"manual_seed": _none, "manual_seed_all": _none},
    "mps": _device_module("mps", ("synchronize", "current_allocated_memory")),
    "xpu": _device_module("xpu", ("synchronize", "set_device", "current_device")),
}
