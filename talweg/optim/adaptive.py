"""Rates from the size of past gradients: Adagrad, Adadelta, RMSprop; from their signs: Rprop."""

from __future__ import annotations

from typing import Any

from talweg.base.errors import InvalidValue
from talweg.engine.creation import full_like
from talweg.engine.tensor import Tensor
from talweg.optim.optimizer import Group, Optimizer, Params, State, begun, not_negative, rate_of


class Adagrad(Optimizer):
    """Rates that fall with the sum of all squared gradients.

    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization" (2011). At step t::

        s = s + g * g
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    Args:
        params: as for `Optimizer`.
        lr: learning rate.
        lr_decay: see above.
        weight_decay: adds `weight_decay * p` to the gradient.
        initial_accumulator_value: s before the first step.
        eps: keeps the denominator from zero.
        maximize: ascend instead.
        foreach, fused: accepted; without effect.
        differentiable: must be False.

    >>> x = tw.tensor([1.0], requires_grad=True)
    >>> adagrad = tw.optim.Adagrad([x], lr=0.1)
    >>> (x * 3).sum().backward()
    >>> adagrad.step()
    >>> x.detach()
    tensor([0.9000])

    Raises:
        InvalidValue: for negative options.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        not_negative(lr=lr, lr_decay=lr_decay, weight_decay=weight_decay, eps=eps)
        not_negative(initial_accumulator_value=initial_accumulator_value)
        defaults: dict[str, Any] = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Group) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for p in group["params"]:
            start = group["initial_accumulator_value"]
            self.state[p].update(step=0, sum=full_like(p, start))

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        state["step"] += 1
        total = state["sum"]
        total.copy_(total + grad * grad)
        rate = rate_of(group) / (1 + (state["step"] - 1) * group["lr_decay"])
        param.sub_(grad / (total.sqrt() + group["eps"]) * rate)


class Adadelta(Optimizer):
    """Steps in the unit of the parameter: past steps over past gradients.

    Zeiler, "ADADELTA: an adaptive learning rate method" (2012)::

        v = rho * v + (1 - rho) * g * g
        d = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d * d
        p = p - lr * d

    Args:
        params: as for `Optimizer`.
        lr: factor of the step, 1 in the paper.
        rho: how much of the running means u and v is kept.
        eps: see above.
        weight_decay: adds `weight_decay * p` to the gradient.
        maximize: ascend instead.
        foreach, capturable: accepted; without effect.
        differentiable: must be False.

    >>> x = tw.tensor([1.0], requires_grad=True)
    >>> adadelta = tw.optim.Adadelta([x])
    >>> (x * 3).sum().backward()
    >>> adadelta.step()
    >>> x.detach()
    tensor([0.9968])

    Raises:
        InvalidValue: for negative options and rho outside [0, 1].
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        not_negative(lr=lr, eps=eps, weight_decay=weight_decay)
        if not 0 <= rho <= 1:
            raise InvalidValue(f"Invalid rho value: {rho}; it must lie in [0, 1]")
        defaults: dict[str, Any] = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        rho, eps = group["rho"], group["eps"]
        if not state:
            state.update(step=0, square_avg=begun(param), acc_delta=begun(param))
        state["step"] += 1
        square, moved = state["square_avg"], state["acc_delta"]
        square.copy_(square * rho + grad * grad * (1 - rho))
        delta = (moved + eps).sqrt() / (square + eps).sqrt() * grad
        moved.copy_(moved * rho + delta * delta * (1 - rho))
        param.sub_(delta * rate_of(group))


class RMSprop(Optimizer):
    """The gradient over its running root mean square.

    Hinton, "Neural networks for machine learning", lecture 6e (2012); `centered` after Graves,
    "Generating sequences with recurrent neural networks" (2013)::

        v = alpha * v + (1 - alpha) * g * g
        m = alpha * m + (1 - alpha) * g         # centered: v - m * m below instead of v
        p = p - lr * g / (sqrt(v) + eps)

    with a momentum, the quotient is added up as ``b = momentum * b + g / (sqrt(v) + eps)`` and
    p moves by lr * b.

    Args:
        params: as for `Optimizer`.
        lr: learning rate.
        alpha: how much of the running means is kept.
        eps: keeps the denominator from zero.
        weight_decay: adds `weight_decay * p` to the gradient.
        momentum: see above.
        centered: divide by the standard deviation.
        capturable, foreach: accepted; without effect.
        maximize: ascend instead.
        differentiable: must be False.

    >>> x = tw.tensor([1.0], requires_grad=True)
    >>> rmsprop = tw.optim.RMSprop([x], lr=0.01)
    >>> (x * 3).sum().backward()
    >>> rmsprop.step()
    >>> x.detach()
    tensor([0.9000])

    Raises:
        InvalidValue: for negative options.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        not_negative(lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum)
        defaults: dict[str, Any] = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        alpha, momentum = group["alpha"], group["momentum"]
        if not state:
            state.update(step=0, square_avg=begun(param))
            if momentum:
                state["momentum_buffer"] = begun(param)
            if group["centered"]:
                state["grad_avg"] = begun(param)
        state["step"] += 1
        square = state["square_avg"]
        variance = square.copy_(square * alpha + grad * grad * (1 - alpha))
        if group["centered"]:
            mean = state["grad_avg"]
            mean.copy_(mean + (grad - mean) * (1 - alpha))
            variance = square - mean * mean
        moved = grad / (variance.sqrt() + group["eps"])
        if momentum:
            buffer = state["momentum_buffer"]
            moved = buffer.copy_(buffer * momentum + moved)
        param.sub_(moved * rate_of(group))


class Rprop(Optimizer):
    """Resilient propagation: a step size per element, led by the sign of the gradient alone.

    Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP
    algorithm" (1993), without their weight backtracking. Where the sign is that of the step before,
    the size grows by etas[1]; where it has turned, the size shrinks by etas[0] and the element
    rests for one step.

    Args:
        params: as for `Optimizer`.
        lr: first step size.
        etas: factors of shrinking (below 1) and growing (above 1).
        step_sizes: smallest and largest step.
        capturable, foreach: accepted; without effect.
        maximize: ascend instead.
        differentiable: must be False.

    >>> x = tw.tensor([1.0], requires_grad=True)
    >>> rprop = tw.optim.Rprop([x], lr=0.1)
    >>> (x * 3).sum().backward()
    >>> rprop.step()
    >>> x.detach()
    tensor([0.9000])

    Raises:
        InvalidValue: for a negative learning rate and for etas on the wrong side of 1.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        not_negative(lr=lr)
        if not 0 < etas[0] < 1 < etas[1]:
            raise InvalidValue(
                f"Invalid eta values: {etas[0]}, {etas[1]}; they must lie below and above 1"
            )
        defaults: dict[str, Any] = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        (shrink, grow), (smallest, largest) = group["etas"], group["step_sizes"]
        if not state:
            start = full_like(param, rate_of(group))
            state.update(step=0, prev=begun(param), step_size=start)
        state["step"] += 1
        before, size = state["prev"], state["step_size"]
        agreement = grad * before
        turned = agreement < 0
        factor = full_like(param, 1).masked_fill(agreement > 0, grow).masked_fill(turned, shrink)
        size.copy_((size * factor).clamp(smallest, largest))
        grad = grad.masked_fill(turned, 0)
        param.sub_(grad.sign() * size)
        before.copy_(grad)
