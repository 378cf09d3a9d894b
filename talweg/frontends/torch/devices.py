"""What programs ask of GPUs and other devices: they are told that only the CPU is there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, ContextDecorator, nullcontext
from types import SimpleNamespace
from typing import Any

from talweg.base.errors import DeviceError
from talweg.engine.random import get_rng_state, set_rng_state


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


class autocast(ContextDecorator):
    """Accepted: computes in the dtypes that the program gave.

    Args:
        device_type: the kind of device.
        dtype, enabled, cache_enabled: accepted.
    """

    def __init__(
        self,
        device_type: str = "cpu",
        dtype: Any = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        self.device = device_type
        self.dtype = dtype

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *failure: Any) -> None:
        return None


class GradScaler:
    """Scales nothing: without a GPU it is disabled, as PyTorch's is.

    Args:
        device: the kind of device.
        init_scale, growth_factor, backoff_factor, growth_interval: accepted.
        enabled: warns when it is set.
    """

    def __init__(
        self,
        device: Any = "cuda",
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled:
            warnings.warn("GradScaler is disabled: there is no GPU", stacklevel=2)

    def scale(self, outputs: Any) -> Any:
        """Return the losses as they are."""
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        """Do nothing: gradients are not scaled."""

    def step(self, optimizer: Any, *args: Any, **options: Any) -> Any:
        """Call `optimizer.step`."""
        return optimizer.step(*args, **options)

    def update(self, new_scale: Any = None) -> None:
        """Do nothing."""

    def get_scale(self) -> float:
        """Return 1."""
        return 1.0

    def is_enabled(self) -> bool:
        """Return False."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """Return an empty dict."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Accept any state."""


class _Nowhere(AbstractContextManager[None]):
    """`with torch.cuda.device(...)`: without a GPU there is nothing to choose."""

    def __init__(self, device: Any = None) -> None:
        if device not in (None, -1):
            absent("torch.cuda.device")()

    def __exit__(self, *failure: Any) -> None:
        return None


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


def _cpu_device_count() -> int:
    return 1


_AMP: dict[str, Any] = {"autocast": autocast, "GradScaler": GradScaler}

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
    "": {"autocast": autocast},
    "amp": _AMP,
    "amp.autocast_mode": _AMP,
    "amp.grad_scaler": _AMP,
    "cpu": {"is_available": lambda: True, "device_count": _cpu_device_count, "synchronize": _none},
    "cuda": {
        "is_initialized": _no,
        "is_bf16_supported": _no,
        "device": _Nowhere,
        "get_rng_state": lambda device="cuda": get_rng_state(),
        "set_rng_state": lambda new_state, device="cuda": set_rng_state(new_state),
        "get_rng_state_all": list,
        "set_rng_state_all": _none,
        **{name: absent(f"torch.cuda.{name}") for name in _CUDA_NEEDS},
        **dict.fromkeys(_CUDA_NOTHING, _none),
        **dict.fromkeys(_CUDA_NUMBERS, _zero),
    },
    "cuda.amp": _AMP,
    "cuda.amp.autocast_mode": _AMP,
    "cuda.amp.grad_scaler": _AMP,
    "cuda.nvtx": {"range_push": _none, "range_pop": _none, "range": lambda message: nullcontext()},
    "cuda.random": {"manual_seed": _none, "manual_seed_all": _none},
    "backends": {},
    "backends.cuda": {
        "is_built": _no,
        "matmul": SimpleNamespace(allow_tf32=False, fp32_precision="ieee"),
    },
    "backends.cudnn": {
        "is_available": _no,
        "version": _none,
        "enabled": False,
        "benchmark": False,
        "deterministic": True,
        "allow_tf32": False,
        "flags": lambda **options: nullcontext(),
    },
    "backends.mkl": {"is_available": _no},
    "backends.mkldnn": {"is_available": _no, "flags": lambda **options: nullcontext()},
    "backends.mps": {"is_available": _no, "is_built": _no},
    "backends.openmp": {"is_available": _no},
    "backends.quantized": {"engine": "none", "supported_engines": ["none"]},
    "mps": _device_module("mps", ("synchronize", "current_allocated_memory")),
    "xpu": _device_module("xpu", ("synchronize", "set_device", "current_device")),
}
