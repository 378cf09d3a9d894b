"""Automatic differentiation for users: `backward`, `grad`, `Function`, modes, checks."""

from __future__ import annotations

from talweg.engine import forward_ad, functional
from talweg.engine.anomaly import detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from talweg.engine.autograd import backward, grad
from talweg.engine.function import Function, FunctionCtx, once_differentiable
from talweg.engine.gradcheck import gradcheck, gradgradcheck
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
