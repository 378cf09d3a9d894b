"""Settings of PyTorch that programs make: each is accepted, and says how things are here."""

from __future__ import annotations

import os
from typing import Any

from talweg.base import config, dtypes
from talweg.base.dtypes import DType
from talweg.engine import creation, meta
from talweg.engine.conversion import CPU, META, device
from talweg.engine.creation import check_device
from talweg.engine.tensor import Tensor


def get_num_threads() -> int:
    """Return the number of threads that compute; `TALWEG_NUM_THREADS` sets it."""
    return config.read().threads


def set_num_threads(int: int) -> None:
    """Set how many threads compute in processes started later; this one's stay as they are.

    Raises:
        InvalidValue: unless positive.
    """
    os.environ["TALWEG_NUM_THREADS"] = str(int)
    config.read()


def set_default_device(device: Any) -> None:
    """Set where Tensors are made that name no device: the CPU, or "meta".

    Raises:
        DeviceError: for any other device.
    """
    check_device(device)
    meta.PLACE.default[:] = [device] if device is not None and meta.asked(device) else []


def get_default_device() -> device:
    """Return where Tensors are made that name no device."""
    return META if meta.asked(None) else CPU


def accepted(*args: Any, **options: Any) -> None:
    """Accept a setting that changes nothing here."""


def yes() -> bool:
    """Return True: results depend on nothing but inputs and seeds."""
    return True


def no(*args: Any) -> bool:
    """Return False: it is not so, or not supported."""
    return False


def range_inclusive(
    start: float, end: float | None = None, step: float = 1, dtype: DType | None = None
) -> Tensor:
    """Return numbers from start to end, the end included, as float32 unless said otherwise."""
    if end is None:
        start, end = 0, start
    kind = dtype or creation.get_default_dtype()
    count = int((end - start) / step + 1)
    return creation.arange(count, dtype=kind) * step + start


def scalar_tensor(
    s: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return a 0-d Tensor, floating unless said otherwise."""
    kind = dtype or creation.get_default_dtype()
    return creation.tensor(s, kind, device, requires_grad)


def _highest() -> str:
    return "highest"


def _zero() -> int:
    return 0


MODULES: dict[str, dict[str, Any]] = {
    "": {
        "are_deterministic_algorithms_enabled": yes,
        "cdouble": dtypes.complex128,
        "cfloat": dtypes.complex64,
        "get_default_device": get_default_device,
        "get_deterministic_debug_mode": _zero,
        "get_float32_matmul_precision": _highest,
        "get_num_interop_threads": get_num_threads,
        "get_num_threads": get_num_threads,
        "compiled_with_cxx11_abi": no,
        "init_num_threads": accepted,
        "is_deterministic_algorithms_warn_only_enabled": no,
        "is_storage": no,
        "is_warn_always_enabled": no,
        "newaxis": None,
        "range": range_inclusive,
        "scalar_tensor": scalar_tensor,
        "set_default_device": set_default_device,
        "set_deterministic_debug_mode": accepted,
        "set_float32_matmul_precision": accepted,
        "set_flush_denormal": no,
        "set_num_interop_threads": accepted,
        "set_num_threads": set_num_threads,
        "set_warn_always": accepted,
        "use_deterministic_algorithms": accepted,
    },
    "jit": {"onednn_fusion_enabled": no, "optimized_execution": no},
}
