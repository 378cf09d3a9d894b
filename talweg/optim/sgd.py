"""Stochastic gradient descent, with momentum, and averaged."""

from __future__ import annotations

from typing import Any

from talweg.base.errors import InvalidValue
from talweg.engine.tensor import Tensor
from talweg.optim.optimizer import Group, Optimizer, Params, State, begun, not_negative, rate_of


class SGD(Optimizer):
    """Stochastic gradient descent, optionally with momentum (Polyak 1964) or Nesterov's (1983).

    With gradient g, velocity v (g at the first step) and rate lr::

        v = momentum * v + (1 - dampening) * g
        p = p - lr * v                      # Nesterov: p - lr * (g + momentum * v)

    The Nesterov form is that of Sutskever et al., "On the importance of initialization and momentum
    in deep learning" (2013), with lr outside of the velocity.

    Args:
        params: as for `Optimizer`.
        lr: learning rate.
        momentum: how much of the velocity is kept.
        dampening: how much of the gradient the velocity leaves out.
        weight_decay: adds `weight_decay * p` to the gradient.
        nesterov: look ahead; needs momentum and no dampening.
        maximize: ascend instead.
        foreach, fused: accepted; updates are always fused.
        differentiable: must be False.

    >>> x = tw.tensor([1.0], requires_grad=True)
    >>> sgd = tw.optim.SGD([x], lr=0.1)
    >>> (x * 3).sum().backward()
    >>> sgd.step()
    >>> x.detach()
    tensor([0.7000])

    Raises:
        InvalidValue: for negative options, and for Nesterov without momentum.
    """

    handles_complex = True

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        not_negative(lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise InvalidValue(
                "Nesterov momentum requires a momentum and zero dampening, got "
                f"momentum={momentum}, dampening={dampening}"
            )
        defaults: dict[str, Any] = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        momentum = group["momentum"]
        if momentum:
            velocity, kept = state.get("momentum_buffer"), 1 - group["dampening"]
            if velocity is None:  # adding -0.0 changes no bit
                velocity, kept = begun(param, -0.0), 1
                state["momentum_buffer"] = velocity
            velocity.copy_(velocity * momentum + grad * kept)
            grad = grad + velocity * momentum if group["nesterov"] else velocity
        param.sub_(grad * rate_of(group))


class ASGD(Optimizer):
    """Averaged stochastic gradient descent: `state[p]["ax"]` is the mean of the values of p.

    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992), with the
    rates of Bottou's SGD (2010): at step t, with eta = lr and mu = 1 at first::

        p = p * (1 - lambd * eta) - eta * g
        ax = ax + mu * (p - ax)
        eta = lr / (1 + lambd * lr * t) ** alpha,   mu = 1 / max(1, t - t0)

    Args:
        params: as for `Optimizer`.
        lr: learning rate.
        lambd: decay of the parameters.
        alpha: power of the decay of the learning rate.
        t0: step at which averaging starts.
        weight_decay: adds `weight_decay * p` to the gradient.
        maximize: ascend instead.
        foreach, capturable: accepted; without effect.
        differentiable: must be False.

    >>> x = tw.tensor([1.0], requires_grad=True)
    >>> asgd = tw.optim.ASGD([x], lr=0.1)
    >>> (x * 3).sum().backward()
    >>> asgd.step()
    >>> x.detach()
    tensor([0.7000])

    Raises:
        InvalidValue: for a negative learning rate or weight decay.
    """

    numbers = ("step", "eta", "mu")

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        not_negative(lr=lr, weight_decay=weight_decay)
        defaults: dict[str, Any] = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        lr, lambd = rate_of(group), group["lambd"]
        if not state:
            state.update(step=0, eta=lr, mu=1, ax=begun(param))
        state["step"] += 1
        param.copy_(param * (1 - lambd * state["eta"]) - grad * state["eta"])
        mean = state["ax"]
        mean.copy_(param if state["mu"] == 1 else mean + (param - mean) * state["mu"])
        state["eta"] = lr / (1 + lambd * lr * state["step"]) ** group["alpha"]
        state["mu"] = 1 / max(1, state["step"] - group["t0"])
