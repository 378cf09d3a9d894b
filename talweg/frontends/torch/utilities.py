"""torch.backends and torch.utils: switches of libraries that are not there, and small tools."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from talweg.base.deferred import deferred
from talweg.base.version import VERSION as TALWEG
from talweg.engine.tape import Removable
from talweg.frontends.torch.programs import absent

if TYPE_CHECKING:
    import llvmlite.binding as llvm
else:
    llvm = deferred("llvmlite.binding")

_ROOT = __name__.rpartition(".")[0]


def _no(*args: Any, **options: Any) -> bool:
    return False


def _yes(*args: Any, **options: Any) -> bool:
    return True


def _none(*args: Any, **options: Any) -> None:
    return None


def _switches(name: str, **settings: Any) -> dict[str, Any]:
    """Return settings of a library, `set_flags` and `flags`: kept as they are set, without effect.

    talweg computes with kernels of its own: no setting of such a library changes anything.
    """

    def set_flags(*values: Any, **named: Any) -> tuple[Any, ...]:
        """Set settings, which has no effect on what is computed; return those before."""
        module = sys.modules[f"{_ROOT}.backends.{name}"]
        before = tuple(getattr(module, key) for key in settings)
        given = dict(zip(settings, values, strict=False))
        given |= {key.removeprefix("_"): value for key, value in named.items()}
        for key, value in given.items():
            if key not in settings:
                raise TypeError(f"torch.backends.{name} has no setting {key!r}: {list(settings)}")
            if value is not None:
                setattr(module, key, value)
        return before

    @contextmanager
    def flags(*values: Any, **named: Any) -> Iterator[None]:
        """Set settings within a block, which has no effect on what is computed."""
        before = set_flags(*values, **named)
        try:
            yield
        finally:
            set_flags(*before)

    return {**settings, "set_flags": set_flags, "flags": flags}


def get_cpu_capability() -> str:
    """Return the vector instructions of this CPU: "AVX512", "AVX2", "NO AVX", or "DEFAULT".

    >>> from talweg.frontends import torch
    >>> torch.backends.cpu.get_cpu_capability() in ("AVX512", "AVX2", "NO AVX", "DEFAULT")
    True
    """
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return "DEFAULT"
    found = llvm.get_host_cpu_features()
    if found.get("avx512f"):
        return "AVX512"
    return "AVX2" if found.get("avx2") else "NO AVX"


class _Verbose:
    """Accepts how much a library is to tell; none is used, so there is nothing to tell."""

    def __init__(self, enable: Any = None, level: Any = None) -> None:
        self.enable = self.level = enable if level is None else level

    def __enter__(self) -> _Verbose:
        return self

    def __exit__(self, *failure: Any) -> None:
        return None


@contextmanager
def sdp_kernel(
    enable_flash: bool = True,
    enable_math: bool = True,
    enable_mem_efficient: bool = True,
    enable_cudnn: bool = True,
) -> Iterator[dict[str, bool]]:
    """Accept a choice of ways to compute attention, which changes nothing."""
    yield {"enable_flash": enable_flash, "enable_math": enable_math}


def _attention() -> dict[str, Any]:
    ways = ("cudnn", "flash", "mem_efficient")
    made: dict[str, Any] = {f"enable_{way}_sdp": _none for way in (*ways, "math")}
    made |= {f"{way}_sdp_enabled": _no for way in ways}
    return made | {
        "math_sdp_enabled": _yes,
        "allow_fp16_bf16_reduction_math_sdp": _none,
        "fp16_bf16_reduction_math_sdp_allowed": _no,
        "is_flash_attention_available": _no,
        "can_use_flash_attention": _no,
        "can_use_efficient_attention": _no,
        "can_use_cudnn_attention": _no,
        "sdp_kernel": sdp_kernel,
    }


_PRODUCTS = {
    "allow_tf32": False,
    "allow_fp16_reduced_precision_reduction": False,
    "allow_bf16_reduced_precision_reduction": False,
    "allow_fp16_accumulation": False,
    "fp32_precision": "ieee",
}
_CONVOLUTIONS: dict[str, Any] = {
    "enabled": False,
    "benchmark": False,
    "benchmark_limit": None,
    "deterministic": True,
    "allow_tf32": False,
    "fp32_precision": "ieee",
}
_PLAIN = ("mkl", "openmp", "nnpack", "xnnpack", "cusparselt", "kleidiai", "itt", "coreml")

BACKENDS: dict[str, dict[str, Any]] = {
    "backends": {"disable_global_flags": _none, "flags_frozen": _no},
    **{f"backends.{name}": {"is_available": _no, "enabled": False} for name in _PLAIN},
    "backends.cpu": {"get_cpu_capability": get_cpu_capability},
    "backends.cuda": {
        "is_built": _no,
        "matmul": SimpleNamespace(**_PRODUCTS),
        "cufft_plan_cache": SimpleNamespace(size=0, max_size=0, clear=_none),
        "preferred_linalg_library": _none,
        "preferred_blas_library": _none,
        **_attention(),
    },
    "backends.cudnn": {
        "is_available": _no,
        "is_acceptable": _no,
        "version": _none,
        "rnn": SimpleNamespace(fp32_precision="ieee"),
        "conv": SimpleNamespace(fp32_precision="ieee"),
        **_switches("cudnn", **_CONVOLUTIONS),
    },
    "backends.mkl": {"is_available": _no, "verbose": _Verbose, "VERBOSE_OFF": 0, "VERBOSE_ON": 1},
    "backends.mkldnn": {
        "is_available": _no,
        "is_acl_available": _no,
        "verbose": _Verbose,
        "VERBOSE_OFF": 0,
        "VERBOSE_ON": 1,
        "VERBOSE_ON_CREATION": 2,
        **_switches(
            "mkldnn", enabled=False, deterministic=True, allow_tf32=False, fp32_precision="ieee"
        ),
    },
    "backends.mha": {"get_fastpath_enabled": _no, "set_fastpath_enabled": _none},
    "backends.miopen": {"is_available": _no, **_switches("miopen", immediate=False)},
    "backends.mps": {
        "is_available": _no,
        "is_built": _no,
        "is_macos_or_newer": _no,
        "is_macos13_or_newer": _no,
    },
    "backends.opt_einsum": {
        "is_available": _no,
        "get_opt_einsum": _none,
        **_switches("opt_einsum", enabled=False, strategy=None),
    },
    "backends.quantized": {"engine": "none", "supported_engines": ["none"]},
}

# ---------------------------------------------------------------------------------------------
# torch.utils

_NO_CPP = (
    "talweg compiles Tensor functions itself and has no C++ interface: write the operation with "
    "Tensors, or as an autograd.Function that calls NumPy"
)


def is_ninja_available() -> bool:
    """Return whether the build tool ninja is installed for Python."""
    return importlib.util.find_spec("ninja") is not None


def no_paths(device_type: str = "cpu") -> list[str]:
    """Return no folders: there are no headers and no libraries."""
    return []


_CPP = {
    **{
        name: absent(f"torch.utils.cpp_extension.{name}", _NO_CPP)
        for name in (
            *("load", "load_inline", "CppExtension", "CUDAExtension", "SyclExtension"),
            *("verify_ninja_availability", "check_compiler_ok_for_platform"),
        )
    },
    "BuildExtension": type(
        "BuildExtension",
        (),
        {
            "__init__": absent("torch.utils.cpp_extension.BuildExtension", _NO_CPP),
            "with_options": classmethod(absent("torch.utils.cpp_extension", _NO_CPP)),
            "__doc__": "Raises: there is no C++ interface.",
        },
    ),
    "CUDA_HOME": None,
    "ROCM_HOME": None,
    "include_paths": no_paths,
    "library_paths": no_paths,
    "is_ninja_available": is_ninja_available,
}


def get_pretty_env_info() -> str:
    """Return the versions and the machine, a line each.

    >>> from talweg.frontends import torch
    >>> torch.utils.collect_env.get_pretty_env_info().splitlines()[0].startswith("talweg")
    True
    """
    facts = {
        "talweg version": TALWEG,
        "Python version": platform.python_version(),
        "NumPy version": np.__version__,
        "OS": platform.platform(),
        "CPU": f"{platform.machine()}, {get_cpu_capability()}",
        "Is CUDA available": "False",
    }
    return "\n".join(f"{name}: {text}" for name, text in facts.items())


def _print_env() -> None:
    sys.stdout.write(f"Collecting environment information...\n{get_pretty_env_info()}\n")


def set_module(obj: Any, mod: str) -> None:
    """Set the name of the module that an object says it is from.

    Raises:
        TypeError: for a name that is no text.
    """
    if not isinstance(mod, str):
        raise TypeError("The mod argument should be a string")
    obj.__module__ = mod


MODULES: dict[str, dict[str, Any]] = {
    **BACKENDS,
    "utils": {"set_module": set_module},
    "utils.collect_env": {"get_pretty_env_info": get_pretty_env_info, "main": _print_env},
    "utils.cpp_extension": _CPP,
    "utils.deterministic": {"fill_uninitialized_memory": True},
    "utils.hooks": {"RemovableHandle": Removable},
    "utils.mobile_optimizer": {
        "optimize_for_mobile": absent(
            "torch.utils.mobile_optimizer.optimize_for_mobile", "models run where Python runs"
        )
    },
}
