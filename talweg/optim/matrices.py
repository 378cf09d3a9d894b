"""Optimizers that look at the rows and columns of a parameter: Adafactor and Muon."""

from __future__ import annotations

import math
from typing import Any

from talweg.base.dtypes import finfo
from talweg.base.errors import InvalidValue, ShapeError
from talweg.engine.creation import zeros, zeros_like
from talweg.engine.tensor import Tensor
from talweg.optim.optimizer import Group, Optimizer, Params, State, not_negative, rate_of


class Adafactor(Optimizer):
    """Adaptive steps whose memory is a row and a column for each matrix, not the matrix.

    Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost" (2018). At
    step t, with b = t**beta2_decay and gradient g of a matrix with m columns and n rows::

        R = R + b * (mean of g**2 over its columns - R)
        C = C + b * (mean of g**2 over its rows - C)
        u = g / sqrt(max(R @ C / max(mean of R, eps1), eps1**2))
        p = p - max(eps2, rms(p)) * min(lr, 1/sqrt(t)) * u / max(1, rms(u) / d)

    A vector has a mean of its squares instead; of more than two dimensions the last two count.

    Args:
        params: as for `Optimizer`.
        lr: the largest relative step; p is multiplied by `1 - lr * weight_decay` before the step.
        beta2_decay: exponent of the step by which means get longer.
        eps: eps1, None for that of the dtype; and eps2, the smallest size of a parameter.
        d: root mean square of a step above which it is made shorter.
        weight_decay: see `lr`.
        foreach: accepted; without effect.
        maximize: ascend instead.

    >>> model = tw.nn.Linear(3, 2, bias=False)
    >>> optimizer = tw.optim.Adafactor(model.parameters(), lr=0.01)
    >>> model(tw.ones(2, 3)).sum().backward()
    >>> optimizer.step()

    Raises:
        InvalidValue: for negative options, `beta2_decay` above 0 and `d` below 1.
    """

    decays = True

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        not_negative(lr=lr, weight_decay=weight_decay, epsilon2=eps[1])
        not_negative(epsilon1=0 if eps[0] is None else eps[0])
        if not beta2_decay <= 0:
            raise InvalidValue(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if not d >= 1:
            raise InvalidValue(f"Clipping threshold d should be >= 1 but is: {d}")
        defaults: dict[str, Any] = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        smallest, least = group["eps"]
        if smallest is None:
            smallest = finfo(param.dtype).eps
        lr = rate_of(group)
        if not state:
            state.update(step=0, **_squares(param))
        state["step"] += 1
        new = state["step"] ** group["beta2_decay"]
        size = math.sqrt(max(param.numel(), 1))
        step = (_length(param) / size).clamp(min=least) * min(lr, 1 / state["step"] ** 0.5)
        if group["weight_decay"]:
            param.mul_(1 - lr * group["weight_decay"])
        square = grad * grad
        if "variance" in state:
            mean = state["variance"]
            mean.copy_(mean + (square - mean) * new)
        else:
            rows, columns = state["row_var"], state["col_var"]
            rows.copy_(rows + (square.mean(-1, keepdim=True) - rows) * new)
            columns.copy_(columns + (square.mean(-2, keepdim=True) - columns) * new)
            mean = rows * columns / rows.mean(-2, keepdim=True).clamp(min=smallest)
        move = grad * mean.clamp(min=smallest * smallest).rsqrt()
        too_long = (_length(move) / (size * group["d"])).clamp(min=1)
        param.sub_(move * (step / too_long))


def _squares(param: Tensor) -> State:
    """Return means of squares of which nothing is known yet."""
    if param.dim() < 2:
        return {"variance": zeros_like(param)}
    *outer, rows, columns = param.shape
    dtype = param.dtype
    return {
        "row_var": zeros(*outer, rows, 1, dtype=dtype),
        "col_var": zeros(*outer, 1, columns, dtype=dtype),
    }


def _length(x: Tensor) -> Tensor:
    found: Tensor = (x * x).sum().sqrt()
    return found


class Muon(Optimizer):
    """Momentum whose steps are orthogonal matrices: every direction is moved as far.

    Jordan, "Muon: an optimizer for hidden layers in neural networks" (2024), for matrices; other
    parameters belong to another optimizer. With gradient g::

        v = v + (1 - momentum) * (g - v)
        u = nesterov ? g + momentum * (v - g) : v
        p = p * (1 - lr * weight_decay) - lr * ratio * orthogonal(u)

    `orthogonal` is a quintic Newton-Schulz iteration, rounded to bfloat16 between its products,
    x = a x + (b y + c y y) x with y = x x', which brings singular values near 1.

    Args:
        params: as for `Optimizer`; matrices.
        lr: learning rate.
        weight_decay, momentum, nesterov: see above.
        ns_coefficients: a, b and c.
        eps: smallest length of u that it is divided by.
        ns_steps: iterations, fewer than 100.
        adjust_lr_fn: ratio, for n rows and m columns: sqrt(max(1, n/m)) for None or "original",
            0.2 sqrt(max(n, m)) for "match_rms_adamw".

    >>> model = tw.nn.Linear(3, 2, bias=False)
    >>> optimizer = tw.optim.Muon(model.parameters(), lr=0.02)
    >>> model(tw.ones(2, 3)).sum().backward()
    >>> optimizer.step()

    Raises:
        InvalidValue: for negative options, another `adjust_lr_fn`, coefficients that are not
            three and 100 iterations or more.
        ShapeError: for a parameter that is no matrix.
    """

    decays = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        not_negative(lr=lr, momentum=momentum, weight_decay=weight_decay)
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise InvalidValue(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        defaults: dict[str, Any] = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                if p.dim() != 2:
                    raise ShapeError(
                        "Muon only supports 2D parameters whereas we found a parameter with size: "
                        f"{tuple(p.shape)}"
                    )

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        momentum, lr = group["momentum"], rate_of(group)
        if not state:
            state["momentum_buffer"] = zeros_like(param)
        mean = state["momentum_buffer"]
        mean.copy_(mean + (grad - mean) * (1 - momentum))
        ahead = grad + (mean - grad) * momentum if group["nesterov"] else mean
        rows, columns = param.shape
        ratio = math.sqrt(max(1, rows / columns))
        if group["adjust_lr_fn"] == "match_rms_adamw":
            ratio = 0.2 * math.sqrt(max(rows, columns))
        move = _orthogonal(ahead, group["ns_coefficients"], group["ns_steps"], group["eps"])
        decayed = param * (1 - lr * group["weight_decay"])
        param.copy_(decayed - move.to(param.dtype) * (lr * ratio))


def _orthogonal(x: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Any:
    """Return a float32 matrix near the orthogonal one that is nearest to the direction of x."""
    if steps >= 100:
        raise InvalidValue("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise InvalidValue("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients
    rows, columns = x.shape
    y: Any = _rounded(x)
    if rows > columns:
        y = y.t()
    y = _rounded(y / _rounded(_length(y)).clamp(min=eps))
    for _ in range(steps):
        square = _rounded(y @ y.t())
        y = _rounded(y * a + _rounded(square * b + (square @ square) * c) @ y)
    return y.t() if rows > columns else y


def _rounded(x: Any) -> Any:
    """Return float32 numbers that are those of bfloat16: sums between them are not rounded."""
    return x.bfloat16().float()
