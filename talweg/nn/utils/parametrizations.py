"""Weights that are kept normalised: by the length of their rows, or by their largest stretch."""

from __future__ import annotations

from typing import Any

from talweg.base.errors import InvalidValue
from talweg.engine import random
from talweg.engine.functions import FUNCTIONS
from talweg.engine.modes import no_grad
from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from talweg.nn.module import Module
from talweg.nn.utils.parametrize import register_parametrization


def norm_except(weight: Tensor, dim: int) -> Tensor:
    """Return 2-norms over all dimensions but one, which is kept; -1: over all, a scalar."""
    if dim == -1:
        whole: Tensor = FUNCTIONS["norm"](weight)
        return whole
    others = [i for i in range(weight.ndim) if i != dim % weight.ndim]
    norms: Tensor = FUNCTIONS["norm"](weight, 2, others, True) if others else weight.abs()
    return norms


class _WeightNorm(Module):
    def __init__(self, dim: int | None) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return length and direction of a weight."""
        return norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn length and direction of a weight apart (Salimans and Kingma, 2016).

    Args:
        module: changed in place.
        name: the weight's attribute.
        dim: one length for each index along it; None: one for all.

    Returns:
        The module; its Parameters are `parametrizations.weight.original0` (lengths) and
        `original1` (directions).

    Example:
        >>> import talweg as tw
        >>> layer = tw.nn.utils.parametrizations.weight_norm(tw.nn.Linear(4, 2))
        >>> [n for n, _ in layer.named_parameters()][1:]
        ['parametrizations.weight.original0', 'parametrizations.weight.original1']
    """
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


def power_steps(
    matrix: Tensor, u: Tensor, v: Tensor, count: int, eps: float
) -> tuple[Tensor, Tensor]:
    """Return better estimates of the singular vectors of the largest singular value."""
    for _ in range(count):
        u = F.normalize(matrix @ v, dim=0, eps=eps)
        v = F.normalize(matrix.T @ u, dim=0, eps=eps)
    return u, v


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """Return a weight with one row for each index along `dim`."""
    first: Tensor = weight.movedim(dim, 0)
    rows: Tensor = first.reshape(first.shape[0], -1)
    return rows


def default_dim(module: Module) -> int:
    """Return the dimension of a layer's weight that counts its outputs."""
    return 1 if isinstance(module, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d) else 0


class _SpectralNorm(Module):
    def __init__(self, weight: Tensor, steps: int, dim: int, eps: float) -> None:
        super().__init__()
        if steps <= 0:
            raise InvalidValue(f"n_power_iterations must be positive, got {steps}")
        self.dim, self.eps, self.n_power_iterations = dim % weight.ndim, eps, steps
        if weight.ndim > 1:
            with no_grad():
                matrix = as_matrix(weight.detach(), self.dim)
                u, v = (F.normalize(random.randn(n), dim=0, eps=eps) for n in matrix.shape)
                u, v = power_steps(matrix, u, v, 15, eps)
            self.register_buffer("_u", u)
            self.register_buffer("_v", v)

    def forward(self, weight: Tensor) -> Any:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            with no_grad():
                steps = self.n_power_iterations
                u, v = power_steps(matrix.detach(), self._u, self._v, steps, self.eps)
                self._u.copy_(u)
                self._v.copy_(v)
        sigma = (self._u.clone() * (matrix @ self._v.clone())).sum()
        return weight / sigma

    def right_inverse(self, value: Tensor) -> Tensor:
        """Return the value: it is normalised when read."""
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight by its largest singular value (Miyato et al., 2018).

    Args:
        module: changed in place.
        name: the weight's attribute.
        n_power_iterations: steps of the estimate at each reading, in training.
        eps: against division by zero.
        dim: counts the outputs; 1 for transposed convolutions, else 0.

    Returns:
        The module.

    Raises:
        InvalidValue: when there is no such weight.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise InvalidValue(f"{type(module).__name__} has no parameter or buffer {name!r}")
    dim = default_dim(module) if dim is None else dim
    made = _SpectralNorm(weight, n_power_iterations, dim, eps)
    return register_parametrization(module, name, made)
