"""talweg: define-by-run programs, recorded into one graph and compiled."""

from __future__ import annotations

import gc as _gc
import sys as _sys

_COLLECTS = _gc.isenabled()
_gc.disable()  # importing makes many objects, none of them garbage

from importlib import import_module
from math import e, inf, nan, pi
from typing import TYPE_CHECKING, Any

from talweg import autograd, cuda, nn, optim
from talweg.base.deferred import deferred
from talweg.base.dtypes import (
    DType as dtype,
)
from talweg.base.dtypes import (
    bfloat16,
    complex64,
    complex128,
    finfo,
    float16,
    float32,
    float64,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from talweg.base.dtypes import bool_ as bool
from talweg.base.dtypes import promote as promote_types
from talweg.base.errors import TalwegError
from talweg.base.formats import MemoryFormat as memory_format
from talweg.base.formats import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    preserve_format,
)
from talweg.base.shapes import Size
from talweg.base.version import VERSION
from talweg.engine import creation, dependent, interchange, random, reforming
from talweg.engine.autocast import (
    autocast,
    clear_autocast_cache,
    get_autocast_dtype,
    is_autocast_cache_enabled,
    is_autocast_enabled,
)
from talweg.engine.conversion import device, layout, strided
from talweg.engine.counters import counters, reset_counters
from talweg.engine.functions import FUNCTIONS
from talweg.engine.methods import attach as _attach
from talweg.engine.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from talweg.engine.printing import set_printoptions
from talweg.engine.tensor import Tensor

double = float64
float = float32
half = float16
long = int64
int = int32
short = int16

__all__ = [
    "Size",
    "TalwegError",
    "Tensor",
    "amp",
    "array_api",
    "autocast",
    "autograd",
    "bartlett_window",
    "bfloat16",
    "binomial",
    "blackman_window",
    "bool",
    "channels_last",
    "channels_last_3d",
    "clear_autocast_cache",
    "compile",
    "complex128",
    "complex64",
    "contiguous_format",
    "counters",
    "cpu",
    "cuda",
    "data",
    "device",
    "distributions",
    "double",
    "dtype",
    "e",
    "enable_grad",
    "explain",
    "fft",
    "finfo",
    "fit",
    "float",
    "float16",
    "float32",
    "float64",
    "func",
    "get_autocast_dtype",
    "half",
    "hamming_window",
    "hann_window",
    "iinfo",
    "inf",
    "inference_mode",
    "int",
    "int16",
    "int32",
    "int64",
    "int8",
    "is_autocast_cache_enabled",
    "is_autocast_enabled",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "kaiser_window",
    "layout",
    "linalg",
    "load",
    "long",
    "memory_format",
    "models",
    "nan",
    "nested",
    "nn",
    "no_grad",
    "no_sync",
    "optim",
    "pi",
    "pca_lowrank",
    "poisson",
    "preserve_format",
    "profile",
    "promote_types",
    "reset_counters",
    "save",
    "set_grad_enabled",
    "set_printoptions",
    "short",
    "special",
    "strided",
    "svd_lowrank",
    "training",
    "tune",
    "uint16",
    "uint32",
    "uint64",
    "uint8",
    "vmap",
    "utils",
]

_array_api = deferred("talweg.array_api")


def _array_namespace(self: Tensor, /, *, api_version: str | None = None) -> Any:
    """Return the functions of the array API standard for Tensors, see `talweg.array_api`."""
    return _array_api.of_version(api_version)


_attach()
setattr(Tensor, "__array_namespace__", _array_namespace)  # noqa: B010
globals().update(FUNCTIONS)
globals().update(reforming.FUNCTIONS)
globals().update(
    {
        f.__name__: f
        for f in (*creation.PUBLIC, *random.PUBLIC, *dependent.PUBLIC, *interchange.PUBLIC)
    }
)

if TYPE_CHECKING:
    from talweg import (
        amp,
        array_api,
        cpu,
        data,
        distributions,
        fft,
        func,
        linalg,
        models,
        nested,
        special,
        training,
        utils,
    )
    from talweg.capture.compiled import compile
    from talweg.engine.drawing import binomial, poisson
    from talweg.engine.explain import explain
    from talweg.engine.lowrank import pca_lowrank, svd_lowrank
    from talweg.engine.profile import profile
    from talweg.engine.search import tune
    from talweg.engine.tracing import no_sync
    from talweg.engine.windows import (
        bartlett_window,
        blackman_window,
        hamming_window,
        hann_window,
        kaiser_window,
    )
    from talweg.mapping import vmap
    from talweg.nn.state import load, save
    from talweg.training import fit

    def __getattr__(name: str) -> Any: ...

else:
    _LATER = {
        "amp": "talweg.amp",
        "array_api": "talweg.array_api",
        "bartlett_window": "talweg.engine.windows",
        "binomial": "talweg.engine.drawing",
        "blackman_window": "talweg.engine.windows",
        "compile": "talweg.capture.compiled",
        "cpu": "talweg.cpu",
        "data": "talweg.data",
        "distributions": "talweg.distributions",
        "explain": "talweg.engine.explain",
        "fft": "talweg.fft",
        "fit": "talweg.training",
        "func": "talweg.func",
        "hamming_window": "talweg.engine.windows",
        "hann_window": "talweg.engine.windows",
        "kaiser_window": "talweg.engine.windows",
        "linalg": "talweg.linalg",
        "load": "talweg.nn.state",
        "models": "talweg.models",
        "nested": "talweg.nested",
        "no_sync": "talweg.engine.tracing",
        "pca_lowrank": "talweg.engine.lowrank",
        "poisson": "talweg.engine.drawing",
        "svd_lowrank": "talweg.engine.lowrank",
        "profile": "talweg.engine.profile",
        "save": "talweg.nn.state",
        "special": "talweg.special",
        "training": "talweg.training",
        "tune": "talweg.engine.search",
        "utils": "talweg.utils",
        "vmap": "talweg.mapping",
    }

    def __getattr__(name: str) -> Any:
        if name not in _LATER:
            text = f"module 'talweg' has no attribute {name!r}"
            raise AttributeError(text, name=name, obj=_sys.modules[__name__])
        module = import_module(_LATER[name])
        return module if module.__name__ == f"talweg.{name}" else getattr(module, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER})


__version__ = VERSION

if _COLLECTS:
    _gc.enable()
