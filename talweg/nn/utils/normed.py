"""The older forms of normalised weights: computed before each call, with names of their own."""

from __future__ import annotations

from typing import Any

from talweg.base.errors import InvalidValue
from talweg.engine import random
from talweg.engine.modes import no_grad
from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn.module import Module
from talweg.nn.parameter import Parameter
from talweg.nn.utils.parametrizations import as_matrix, default_dim, norm_except, power_steps


class _Before:
    """A hook that computes a weight before each call."""

    kind: str

    def __init__(self, name: str, dim: int) -> None:
        self.name, self.dim = name, dim

    def compute(self, module: Module) -> Tensor:
        """Return the weight from its parts."""
        raise NotImplementedError

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute(module))


class _Weight(_Before):
    kind = "weight_norm"

    def compute(self, module: Module) -> Tensor:
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        out: Tensor = v * (g / norm_except(v, self.dim))
        return out


class _Spectral(_Before):
    kind = "spectral_norm"

    def __init__(self, name: str, dim: int, steps: int, eps: float) -> None:
        super().__init__(name, dim)
        self.steps, self.eps = steps, eps

    def compute(self, module: Module) -> Tensor:
        weight, u, v = (getattr(module, f"{self.name}_{part}") for part in ("orig", "u", "v"))
        matrix = as_matrix(weight, self.dim)
        if module.training:
            with no_grad():
                # The right vector first: the order of the published weights' program.
                for _ in range(self.steps):
                    v.copy_(F.normalize(matrix.detach().T @ u, dim=0, eps=self.eps))
                    u.copy_(F.normalize(matrix.detach() @ v, dim=0, eps=self.eps))
        out: Tensor = weight / (u.clone() * (matrix @ v.clone())).sum()
        return out


def _taken(module: Module, name: str) -> Parameter:
    weight = module._parameters.get(name)
    if weight is None:
        raise InvalidValue(f"{type(module).__name__} has no parameter {name!r}")
    for hook in module._hooks.get("forward_pre", {}).values():
        if isinstance(hook.function, _Before) and hook.function.name == name:
            raise InvalidValue(f"{type(module).__name__}.{name} is normalised already")
    del module._parameters[name]
    return weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn length (`weight_g`) and direction (`weight_v`) of a weight apart.

    Salimans and Kingma, 2016; `parametrizations.weight_norm` is the newer form.

    Args:
        module: changed in place.
        name: the weight's attribute.
        dim: one length for each index along it; None: one for all.

    Returns:
        The module.

    Raises:
        InvalidValue: when there is no such Parameter.
    """
    hook = _Weight(name, -1 if dim is None else dim)
    weight = _taken(module, name)
    module.register_parameter(f"{name}_g", Parameter(norm_except(weight.detach(), hook.dim)))
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    setattr(module, name, hook.compute(module))
    module.register_forward_pre_hook(hook)
    return module


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight (kept as `weight_orig`) by its largest singular value.

    Miyato et al., 2018; `parametrizations.spectral_norm` is the newer form.

    Args:
        module: changed in place.
        name: the weight's attribute.
        n_power_iterations: steps of the estimate before each call, in training.
        eps: against division by zero.
        dim: counts the outputs; 1 for transposed convolutions, else 0.

    Returns:
        The module.

    Raises:
        InvalidValue: when there is no such Parameter.
    """
    if n_power_iterations <= 0:
        raise InvalidValue(f"n_power_iterations must be positive, got {n_power_iterations}")
    weight = _taken(module, name)
    hook = _Spectral(name, default_dim(module) if dim is None else dim, n_power_iterations, eps)
    matrix = as_matrix(weight.detach(), hook.dim)
    u, v = (F.normalize(random.randn(n), dim=0, eps=eps) for n in matrix.shape)
    with no_grad():
        u, v = power_steps(matrix, u, v, 1, eps)
    module.register_parameter(f"{name}_orig", weight)
    setattr(module, name, weight.detach())
    module.register_buffer(f"{name}_u", u)
    module.register_buffer(f"{name}_v", v)
    module.register_forward_pre_hook(hook)
    return module


def _remove(module: Module, name: str, kind: str, parts: tuple[str, ...]) -> Module:
    hooks = module._hooks.get("forward_pre", {})
    for key, hook in list(hooks.items()):
        found = hook.function
        if isinstance(found, _Before) and (found.kind, found.name) == (kind, name):
            training = module.training
            module.training = False
            with no_grad():
                value = found.compute(module)
            module.training = training
            del hooks[key]
            for part in (name, *(f"{name}_{p}" for p in parts)):
                delattr(module, part)
            module.register_parameter(name, Parameter(value.detach()))
            return module
    raise InvalidValue(f"{kind} of {name!r} not found in {module}")


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make a weight under `weight_norm` an ordinary one again.

    Raises:
        InvalidValue: when it is not.
    """
    return _remove(module, name, "weight_norm", ("g", "v"))


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make a weight under `spectral_norm` an ordinary one again.

    Raises:
        InvalidValue: when it is not.
    """
    return _remove(module, name, "spectral_norm", ("orig", "u", "v"))
