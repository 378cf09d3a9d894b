"""Adam and AdamW."""

from __future__ import annotations

from typing import Any

from talweg.engine.tensor import Tensor
from talweg.optim.optimizer import (
    Group,
    Optimizer,
    Params,
    State,
    begun,
    check_betas,
    not_negative,
    rate_of,
)


def update_moments(state: State, grad: Tensor, betas: tuple[float, float]) -> None:
    """Count the step and move the running means of g and g * g, which start at zero."""
    if not state:
        state.update(step=0, exp_avg=begun(grad), exp_avg_sq=begun(grad))
    mean, square, (beta1, beta2) = state["exp_avg"], state["exp_avg_sq"], betas
    state["step"] += 1
    mean.copy_(mean + (grad - mean) * (1 - beta1))
    square.copy_(square * beta2 + grad * grad * (1 - beta2))


class Adam(Optimizer):
    """Adam: steps of the size of the mean gradient over its root mean square.

    Kingma and Ba, "Adam: a method for stochastic optimization" (2015). At step t::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        p = p - lr * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps)

    With `amsgrad`, the largest v so far takes its place (Reddi et al., "On the convergence of Adam
    and beyond", 2018).

    Args:
        params: as for `Optimizer`.
        lr: learning rate.
        betas: how much of the two running means is kept.
        eps: keeps the denominator from zero.
        weight_decay: adds `weight_decay * p` to the gradient.
        amsgrad: see above.
        maximize: ascend instead.
        decoupled_weight_decay: multiply p by `1 - lr * weight_decay` instead, as AdamW does.
        foreach, capturable, fused: accepted; without effect.
        differentiable: must be False.

    >>> x = tw.tensor([1.0], requires_grad=True)
    >>> adam = tw.optim.Adam([x], lr=0.1)
    >>> (x * 3).sum().backward()
    >>> adam.step()
    >>> x.detach()
    tensor([0.9000])

    Raises:
        InvalidValue: for negative options and betas outside [0, 1).
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        not_negative(lr=lr, eps=eps, weight_decay=weight_decay)
        check_betas(betas)
        defaults: dict[str, Any] = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        beta1, beta2 = group["betas"]
        update_moments(state, grad, group["betas"])
        step, square = state["step"], state["exp_avg_sq"]
        if group["amsgrad"]:
            largest = state.get("max_exp_avg_sq")
            if largest is None:
                largest = state["max_exp_avg_sq"] = begun(param)
            square = largest.copy_(largest.maximum(square))
        root = square.sqrt() * (1 - beta2**step) ** -0.5 + group["eps"]
        rate = rate_of(group) / (1 - beta1**step)
        param.sub_(state["exp_avg"] / root * rate)


class AdamW(Adam):
    """Adam whose weight decay is not mixed with the gradient.

    Loshchilov and Hutter, "Decoupled weight decay regularization" (2019): p is multiplied by
    `1 - lr * weight_decay` before the step of `Adam`.

    Args:
        params, lr, betas, eps, amsgrad, foreach, maximize, capturable, differentiable, fused: as
            for `Adam`.
        weight_decay: see above.

    Raises:
        InvalidValue: for negative options and betas outside [0, 1).

    >>> model = tw.nn.Linear(3, 1)
    >>> optimizer = tw.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1)
    >>> model(tw.ones(2, 3)).sum().backward()
    >>> optimizer.step()
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
