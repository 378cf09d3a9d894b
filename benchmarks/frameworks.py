"""The frameworks, and how each makes a Program of a case."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from typing import Any

import numpy as np

from benchmarks import eager, onnx_graphs, pure
from benchmarks.case import Case, Function, Own, Program, Skipped

FRAMEWORKS = {
    "talweg": "talweg",
    "talweg-compile": "talweg, tw.compile",
    "talweg-channels-last": "talweg, tw.compile, channels last",
    "torch": "PyTorch",
    "torch-channels-last": "PyTorch, channels last",
    "torch-compile": "torch.compile",
    "jax": "jax.jit",
    "onnxruntime": "ONNX Runtime",
    "numpy": "NumPy",
}
"""Names on the command line, and what tables call them."""

OURS = ("talweg", "talweg-compile", "talweg-channels-last")

PACKAGES = {
    "talweg": ("talweg", "numpy", "llvmlite"),
    "talweg-compile": ("talweg", "numpy", "llvmlite"),
    "talweg-channels-last": ("talweg", "numpy", "llvmlite"),
    "torch": ("torch",),
    "torch-channels-last": ("torch",),
    "torch-compile": ("torch",),
    "jax": ("jax", "jaxlib"),
    "onnxruntime": ("onnxruntime", "onnx"),
    "numpy": ("numpy",),
}
"""What must be installed for each."""


def missing(framework: str) -> str:
    """Return which package is not installed; empty when all are."""
    for package in PACKAGES[framework]:
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    return ""


def versions() -> dict[str, str]:
    """Return the versions of what is installed."""
    found = {}
    for package in sorted({name for names in PACKAGES.values() for name in names}):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "talweg" not in found and importlib.util.find_spec("talweg"):
        found["talweg"] = str(importlib.import_module("talweg").__version__)
    return found


def restrict(threads: int) -> None:
    """Keep this process, and what it starts, to a number of threads.

    To be called before a framework is imported. With fewer threads than processors the process
    stays on as many processors, which every framework heeds.
    """
    for name in ("OMP", "OPENBLAS", "MKL", "TALWEG"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)
    if hasattr(os, "sched_setaffinity"):
        mine = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, mine[:threads])


def prepare(case: Case, framework: str, threads: int) -> Program:
    """Return a case as a Program of a framework.

    Raises:
        Skipped: when the framework does not take part.
    """
    if framework in case.beyond:
        raise Skipped(case.beyond[framework])
    if isinstance(case, Own):
        return case.program(framework)
    if framework == "jax":
        return pure.program(case)
    if framework == "onnxruntime":
        return onnx_graphs.program(case, threads)
    if framework == "numpy":
        return in_numpy(case)
    return eager.program(case, chosen(framework, case))


def chosen(framework: str, case: Case) -> eager.Eager:
    """Return talweg or PyTorch as a framework's name says."""
    module, _, way = framework.partition("-")
    last = way == "channels-last"
    if last and not has_images(case):
        raise Skipped("no images")
    compiled = way == "compile" or (last and module == "talweg")
    return eager.Eager(module, compiled, channels_last=last)


def has_images(case: Case) -> bool:
    """Whether a case convolves images."""
    arrays: Any = getattr(case, "batch", getattr(case, "inputs", tuple))()
    return any(array.ndim == 4 for array in arrays)


def in_numpy(case: Case) -> Program:
    """A product of matrices in NumPy, which is OpenBLAS; NumPy is a peer of nothing else."""
    if not case.numpy or not isinstance(case, Function):
        raise Skipped("no peer for this")
    arrays = case.inputs()

    def step() -> np.ndarray:
        made: np.ndarray = case.eager(np, *arrays)
        return made

    return Program(step, lambda: {"output": step()})
