"""Relatives of Adam: Adamax, NAdam, RAdam."""

from __future__ import annotations

from typing import Any

from talweg.engine.tensor import Tensor
from talweg.optim.adam import update_moments
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


class Adamax(Optimizer):
    """Adam with the largest |g|, decayed, in place of the root mean square.

    Kingma and Ba, "Adam: a method for stochastic optimization" (2015), section 7.1. At step t::

        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, |g| + eps)
        p = p - lr / (1 - beta1**t) * m / u

    Args:
        params: as for `Optimizer`.
        lr: learning rate.
        betas: how much of m and u is kept.
        eps: keeps the denominator from zero.
        weight_decay: adds `weight_decay * p` to the gradient.
        maximize: ascend instead.
        foreach, capturable: accepted; without effect.
        differentiable: must be False.

    >>> x = tw.tensor([1.0], requires_grad=True)
    >>> adamax = tw.optim.Adamax([x], lr=0.1)
    >>> (x * 3).sum().backward()
    >>> adamax.step()
    >>> x.detach()
    tensor([0.9000])

    Raises:
        InvalidValue: for negative options and betas outside [0, 1).
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        not_negative(lr=lr, eps=eps, weight_decay=weight_decay)
        check_betas(betas)
        defaults: dict[str, Any] = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        beta1, beta2 = group["betas"]
        if not state:
            state.update(step=0, exp_avg=begun(param), exp_inf=begun(param))
        mean, largest = state["exp_avg"], state["exp_inf"]
        state["step"] += 1
        mean.copy_(mean + (grad - mean) * (1 - beta1))
        largest.copy_((largest * beta2).maximum(grad.abs() + group["eps"]))
        param.sub_(mean / largest * (rate_of(group) / (1 - beta1 ** state["step"])))


class NAdam(Optimizer):
    """Adam with Nesterov's momentum.

    Dozat, "Incorporating Nesterov momentum into Adam" (2016). At step t, with m and v of `Adam` and
    mu(t) = beta1 * (1 - 0.96**(t * momentum_decay) / 2)::

        n = (1 - mu(t)) / (1 - mu(1) ... mu(t)) * g + mu(t+1) / (1 - mu(1) ... mu(t+1)) * m
        p = p - lr * n / (sqrt(v / (1 - beta2**t)) + eps)

    Args:
        params: as for `Optimizer`.
        lr: learning rate.
        betas: how much of m and v is kept.
        eps: keeps the denominator from zero.
        weight_decay: adds `weight_decay * p` to the gradient.
        momentum_decay: see above.
        decoupled_weight_decay: multiply p by `1 - lr * weight_decay` instead, as AdamW does.
        maximize: ascend instead.
        foreach, capturable: accepted; without effect.
        differentiable: must be False.

    >>> x = tw.tensor([1.0], requires_grad=True)
    >>> nadam = tw.optim.NAdam([x], lr=0.1)
    >>> (x * 3).sum().backward()
    >>> nadam.step()
    >>> x.detach()
    tensor([0.8944])

    Raises:
        InvalidValue: for negative options and betas outside [0, 1).
    """

    numbers = ("step", "mu_product")

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        not_negative(lr=lr, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
        check_betas(betas)
        defaults: dict[str, Any] = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        beta1, beta2 = group["betas"]
        decay = group["momentum_decay"]
        update_moments(state, grad, group["betas"])
        step = state["step"]
        now = beta1 * (1 - 0.5 * 0.96 ** (step * decay))
        after = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * decay))
        product = state["mu_product"] = state.get("mu_product", 1.0) * now
        of_grad, of_mean = (1 - now) / (1 - product), after / (1 - product * after)
        ahead = grad * of_grad + state["exp_avg"] * of_mean
        root = (state["exp_avg_sq"] / (1 - beta2**step)).sqrt() + group["eps"]
        param.sub_(ahead / root * rate_of(group))


class RAdam(Optimizer):
    """Adam that waits with the denominator until enough gradients have been seen.

    Liu et al., "On the variance of the adaptive learning rate and beyond" (2020). At step t, with m
    and v of `Adam` and the length of the mean v::

        rho = 2 / (1 - beta2) - 1
        rho(t) = rho - 2 * t * beta2**t / (1 - beta2**t)
        r = sqrt((rho(t) - 4) * (rho(t) - 2) * rho / ((rho - 4) * (rho - 2) * rho(t)))

    the step is that of Adam times r where rho(t) > 5 (eps being added to sqrt(v) itself), and
    lr * m / (1 - beta1**t) before.

    Args:
        params: as for `Optimizer`.
        lr: learning rate.
        betas: how much of m and v is kept.
        eps: keeps the denominator from zero.
        weight_decay: adds `weight_decay * p` to the gradient.
        decoupled_weight_decay: multiply p by `1 - lr * weight_decay` instead, as AdamW does.
        maximize: ascend instead.
        foreach, capturable: accepted; without effect.
        differentiable: must be False.

    >>> x = tw.tensor([1.0], requires_grad=True)
    >>> radam = tw.optim.RAdam([x], lr=0.1)
    >>> (x * 3).sum().backward()
    >>> radam.step()
    >>> x.detach()
    tensor([0.7000])

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
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        not_negative(lr=lr, eps=eps, weight_decay=weight_decay)
        check_betas(betas)
        defaults: dict[str, Any] = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        beta1, beta2 = group["betas"]
        update_moments(state, grad, group["betas"])
        step = state["step"]
        moved = state["exp_avg"] * (rate_of(group) / (1 - beta1**step))
        correction = 1 - beta2**step
        rho = 2 / (1 - beta2) - 1
        now = rho - 2 * step * beta2**step / correction
        if now > 5:
            trust = ((now - 4) * (now - 2) * rho / ((rho - 4) * (rho - 2) * now)) ** 0.5
            root = state["exp_avg_sq"].sqrt() + group["eps"]
            moved = moved / root * (trust * correction**0.5)
        param.sub_(moved)
