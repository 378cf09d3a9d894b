"""Modules around the numbers: scripting, downloads, processes, versions, testing."""

from __future__ import annotations

import collections.abc
import enum
import math
import multiprocessing
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from talweg.base.dtypes import promote
from talweg.base.version import VERSION as TALWEG
from talweg.data.fetch import fetch_checkpoint
from talweg.engine.tensor import Tensor
from talweg.nn.module import Module
from talweg.nn.state import load
from talweg.optim.lr_scheduler import LRScheduler

VERSION = f"2.13.0+talweg{TALWEG}"
_T = TypeVar("_T")


def absent(what: str, instead: str) -> Callable[..., Any]:
    """Return a function that raises NotImplementedError and says what to do instead."""

    def refuse(*args: Any, **options: Any) -> Any:
        raise NotImplementedError(f"{what} is not in talweg: {instead}")

    refuse.__name__ = what.rpartition(".")[2]
    refuse.__doc__ = f"`{what}`: raises NotImplementedError."
    return refuse


# ---------------------------------------------------------------------------------------------
# torch.jit: programs run as they are, so there is nothing to translate


def script(obj: _T, *args: Any, **options: Any) -> _T:
    """Return a function, class or Module as it is."""
    return obj


def marked(function: Any = None, **options: Any) -> Any:
    """Return a function as it is, for marks with and without arguments."""
    return function if callable(function) else script


def trace_module(mod: _T, inputs: Any, *args: Any, **options: Any) -> _T:
    """Return the Module as it is."""
    return mod


def annotate(the_type: Any, the_value: _T) -> _T:
    """Return the value."""
    return the_value


def attribute(value: _T, type: Any) -> _T:
    """Return the value."""
    return value


def _no() -> bool:
    return False


def _instance(obj: Any, target_type: Any) -> bool:
    return isinstance(obj, typing.get_origin(target_type) or target_type)


_JIT: dict[str, Any] = {
    "script": script,
    "trace": script,
    "trace_module": trace_module,
    "freeze": script,
    "optimize_for_inference": script,
    "script_method": script,
    "script_if_tracing": script,
    "interface": script,
    "export": marked,
    "ignore": marked,
    "unused": marked,
    "is_scripting": _no,
    "is_tracing": _no,
    "annotate": annotate,
    "Attribute": attribute,
    "Final": typing.Final,
    "isinstance": _instance,
    "ScriptModule": Module,
    "ScriptFunction": Callable,
    "RecursiveScriptModule": Module,
    "_overload_method": script,
    "save": absent("torch.jit.save", "save the state_dict with torch.save"),
    "load": absent("torch.jit.load", "build the Module and load its state_dict"),
}

# ---------------------------------------------------------------------------------------------
# torch.hub: files of weights


def load_state_dict_from_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = False,
) -> Any:
    """Load weights from the cache folder where PyTorch puts them, see `data.fetch`.

    Args:
        url: where they are fetched when they are not there; the file's name must end with the
            beginning of its SHA-256, as PyTorch's do.
        model_dir: the folder.
        map_location: as of `load`.
        progress: show a bar.
        check_hash: accepted: what is fetched is always checked.
        file_name: in the folder; by default that of the address.
        weights_only: accepted: pickled programs are never run.

    Raises:
        MissingFile: when they cannot be fetched; the message says which file to put where.
    """
    return load(fetch_checkpoint(url, model_dir, file_name, progress), map_location)


# ---------------------------------------------------------------------------------------------
# torch.testing


def assert_close(
    actual: Any,
    expected: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_dtype: bool = True,
    msg: Any = None,
    **options: Any,
) -> None:
    """Assert that two values, or nested ones, agree within rounding.

    Args:
        actual, expected: Tensors, numbers, or sequences and dicts of them.
        rtol, atol: allowed differences; by default those of the dtype.
        equal_nan: whether NaN equals NaN.
        check_dtype: whether dtypes must agree.
        msg: replaces the message.

    Raises:
        AssertionError: naming the largest difference.
    """
    if isinstance(actual, Sequence | collections.abc.Mapping) and not isinstance(actual, str):
        keys = actual if isinstance(actual, collections.abc.Mapping) else range(len(actual))
        assert len(actual) == len(expected), msg or "the lengths differ"
        for key in keys:
            how = {"rtol": rtol, "atol": atol, "equal_nan": equal_nan, "check_dtype": check_dtype}
            assert_close(actual[key], expected[key], **how, msg=msg)  # type: ignore[arg-type]
        return
    a, b = _array(actual), _array(expected)
    assert a.shape == b.shape, msg or f"the shapes differ: {a.shape} and {b.shape}"
    if check_dtype and isinstance(actual, Tensor) and isinstance(expected, Tensor):
        same = actual.dtype is expected.dtype
        assert same, msg or f"the dtypes differ: {actual.dtype} and {expected.dtype}"
    slack = _slack(actual, expected)
    allowed = slack if rtol is None or atol is None else (rtol, atol)
    np.testing.assert_allclose(
        a, b, allowed[0], allowed[1], equal_nan=equal_nan, err_msg=str(msg or "")
    )


def _array(value: Any) -> np.ndarray:
    return value.numpy(force=True) if isinstance(value, Tensor) else np.asarray(value)


def _slack(a: Any, b: Any) -> tuple[float, float]:
    found = [t.dtype for t in (a, b) if isinstance(t, Tensor)]
    if not found:
        return 1e-7, 1e-7
    dtype = promote(found[0], found[-1])
    known = {"float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5), "float32": (1.3e-6, 1e-5)}
    known |= {"float64": (1e-7, 1e-7), "complex64": (1.3e-6, 1e-5), "complex128": (1e-7, 1e-7)}
    return known.get(dtype.name, (0.0, 0.0))


# ---------------------------------------------------------------------------------------------
# processes


def spawn(
    fn: Callable[..., Any],
    args: Sequence[Any] = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "fork",
) -> Any:
    """Run `fn(i, *args)` in `nprocs` processes.

    Raises:
        RuntimeError: when one of them fails.
    """
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=fn, args=(i, *args), daemon=daemon) for i in range(nprocs)]
    for process in started:
        process.start()
    if not join:
        return started
    for process in started:
        process.join()
        if process.exitcode:
            raise RuntimeError(f"process {process.pid} ended with exit code {process.exitcode}")
    return None


class SDPBackend(enum.Enum):
    """Ways to compute attention, which talweg chooses itself."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextmanager
def sdpa_kernel(backends: Any, set_priority: bool = False) -> Iterator[None]:
    """Accept a choice of ways to compute attention, which changes nothing."""
    yield


def _nothing(*args: Any, **options: Any) -> None:
    return None


def _alone(name: str) -> Callable[..., Any]:
    return absent(f"torch.distributed.{name}", "programs run in one process")


_ONE_PROCESS = (
    *("init_process_group", "destroy_process_group", "get_rank", "get_world_size", "barrier"),
    *("all_reduce", "all_gather", "broadcast", "reduce", "scatter", "gather", "send", "recv"),
    *("all_gather_object", "broadcast_object_list", "new_group", "get_backend"),
)
_DIFFERENTIABLE = (
    *("all_reduce", "all_gather", "all_to_all", "all_to_all_single", "broadcast", "gather"),
    *("reduce", "reduce_scatter", "scatter"),
)

# ---------------------------------------------------------------------------------------------
# the tables


def typename(obj: Any) -> str:
    """Return the name of a value's type, with its module."""
    if isinstance(obj, Tensor):
        return str(obj.type())
    return f"{type(obj).__module__}.{type(obj).__qualname__}"


_HUB = {
    "load_state_dict_from_url": load_state_dict_from_url,
    "load": absent("torch.hub.load", "nothing is downloaded"),
}

_COMPILER: dict[str, Any] = {
    "is_compiling": _no,
    "is_dynamo_compiling": _no,
    "is_exporting": _no,
    "allow_in_graph": script,
    "disable": marked,
    "reset": _nothing,
    "cudagraph_mark_step_begin": _nothing,
}

MODULES: dict[str, dict[str, Any]] = {
    "": {"typename": typename},
    "compiler": _COMPILER,
    "_six": {
        "container_abcs": collections.abc,
        "inf": math.inf,
        "nan": math.nan,
        "int_classes": int,
        "string_classes": (str, bytes),
        "PY3": True,
    },
    "distributed": {
        "is_available": _no,
        "is_initialized": _no,
        **{name: _alone(name) for name in _ONE_PROCESS},
    },
    "distributed.nn": {name: _alone(f"nn.{name}") for name in _DIFFERENTIABLE},
    "distributed.nn.functional": {
        name: _alone(f"nn.functional.{name}") for name in _DIFFERENTIABLE
    },
    "hub": _HUB,
    "jit": _JIT,
    "jit.annotations": {},
    "nn.attention": {"SDPBackend": SDPBackend, "sdpa_kernel": sdpa_kernel},
    "multiprocessing": {
        **{name: getattr(multiprocessing, name) for name in multiprocessing.__all__},
        "spawn": spawn,
        "set_sharing_strategy": _nothing,
        "get_sharing_strategy": lambda: "file_system",
    },
    "onnx": {"export": absent("torch.onnx.export", "save the state_dict with torch.save")},
    "optim.lr_scheduler": {"_LRScheduler": LRScheduler},
    "optim.optimizer": {"required": object()},
    "testing": {"assert_close": assert_close},
    "types": {"Device": Any, "Number": int | float | bool},
    "utils": {},
    "utils.model_zoo": {"load_url": load_state_dict_from_url},
    "version": {
        "__version__": VERSION,
        "cuda": None,
        "hip": None,
        "git_version": "",
        "debug": False,
    },
}
