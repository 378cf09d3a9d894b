"""Automatic differentiation for users: `backward`, `grad`, `Function`, modes, checks."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from talweg.engine.anomaly import detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from talweg.engine.autograd import backward, grad
from talweg.engine.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)

__all__ = [
    "Function",
    "FunctionCtx",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "forward_ad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_anomaly_enabled",
    "is_grad_enabled",
    "no_grad",
    "once_differentiable",
    "set_detect_anomaly",
    "set_grad_enabled",
]

if TYPE_CHECKING:
    from talweg.engine import forward_ad, functional
    from talweg.engine.function import Function, FunctionCtx, once_differentiable
    from talweg.engine.gradcheck import gradcheck, gradgradcheck
else:
    _LATER = {
        "Function": "talweg.engine.function",
        "FunctionCtx": "talweg.engine.function",
        "forward_ad": "talweg.engine.forward_ad",
        "functional": "talweg.engine.functional",
        "gradcheck": "talweg.engine.gradcheck",
        "gradgradcheck": "talweg.engine.gradcheck",
        "once_differentiable": "talweg.engine.function",
    }

    def __getattr__(name: str) -> Any:
        if name not in _LATER:
            text = f"module 'talweg.autograd' has no attribute {name!r}"
            raise AttributeError(text, name=name, obj=sys.modules[__name__])
        found = import_module(_LATER[name])
        if name not in ("forward_ad", "functional"):
            found = getattr(found, name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER})
