"""LBFGS: Newton's method with the curvature of the last few steps."""

from __future__ import annotations

from typing import Any

from talweg.base.errors import InvalidValue
from talweg.engine.barrier import flush
from talweg.engine.creation import zeros
from talweg.engine.functions import FUNCTIONS
from talweg.engine.modes import enable_grad
from talweg.engine.tensor import Tensor
from talweg.optim.line_search import Point, strong_wolfe
from talweg.optim.optimizer import Closure, Group, Optimizer, Params, State, not_negative


class LBFGS(Optimizer):
    """The limited-memory method of Broyden, Fletcher, Goldfarb and Shanno.

    Nocedal and Wright, "Numerical optimization" (2006), algorithms 7.4 and 7.5. The direction is
    minus the gradient times an estimate of the inverse Hessian, which is made of the last steps s
    and the changes y of the gradient over them.

    It needs a closure, which `step` calls several times, and one group of parameters.

    Args:
        params: as for `Optimizer`; one group only.
        lr: length of the steps, and of the first trial of the line search.
        max_iter: directions per call of `step`.
        max_eval: calls of the closure per `step`; None means `max_iter * 1.25`.
        tolerance_grad: largest element of the gradient that ends the step.
        tolerance_change: change of the parameters or of the loss that ends the step.
        history_size: how many s and y are kept.
        line_search_fn: None takes steps of `lr`; "strong_wolfe" searches along each direction.

    >>> x = tw.tensor([3.0, -2.0], requires_grad=True)
    >>> lbfgs = tw.optim.LBFGS([x], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     lbfgs.zero_grad()
    ...     loss = ((x - 1) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> float(lbfgs.step(closure))
    13.0
    >>> [round(v, 3) for v in x.tolist()]
    [1.0, 1.0]

    Raises:
        InvalidValue: for several groups, a negative learning rate and an unknown line search.
    """

    numbers = ()

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        not_negative(lr=lr)
        if line_search_fn not in (None, "strong_wolfe"):
            raise InvalidValue(f"line_search_fn must be None or 'strong_wolfe': {line_search_fn!r}")
        defaults: dict[str, Any] = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Group) -> None:
        if self.param_groups:
            raise InvalidValue("LBFGS takes a single group: one direction moves all parameters")
        super().add_param_group(param_group)

    def advance(self, closure: Closure | None) -> Any:
        if closure is None:
            raise InvalidValue("LBFGS needs a closure that computes the loss: step(closure)")
        (group,) = self.param_groups
        params = group["params"]
        state = self.state[params[0]]
        if not state:
            state.update(func_evals=0, n_iter=0, old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
        loss, value, grad = _evaluate(closure, params)
        evaluations = 1
        for iteration in range(group["max_iter"]):
            if _largest(grad) <= group["tolerance_grad"]:
                break
            direction = _direction(state, grad, group["history_size"])
            lr = float(group["lr"])
            t = lr if state["n_iter"] else min(1.0, 1.0 / float(grad.abs().sum())) * lr
            state["n_iter"] += 1
            state.update(d=direction, prev_flat_grad=grad, prev_loss=value)
            slope = _dot(grad, direction)
            if slope > -group["tolerance_change"]:
                state["t"] = t
                break
            now = Point(0.0, value, slope, grad)
            if group["line_search_fn"]:
                now, calls = _search(closure, params, direction, now, t)
            else:
                now, calls = _stride(closure, params, direction, now, t, group, iteration)
            state["t"], value, grad = now.t, now.value, now.grad
            evaluations += calls
            flush()
            if evaluations >= group["max_eval"]:
                break
            if _largest(direction) * abs(now.t) <= group["tolerance_change"]:
                break
            if abs(value - state["prev_loss"]) < group["tolerance_change"]:
                break
        state["func_evals"] += evaluations
        return loss


def _evaluate(closure: Closure, params: list[Tensor]) -> tuple[Any, float, Tensor]:
    """Return the loss, its value, and the gradients of all parameters as one vector."""
    with enable_grad():
        loss = closure()
    parts = [
        zeros(p.numel(), dtype=p.dtype) if p.grad is None else p.grad.reshape(-1) for p in params
    ]
    grad: Tensor = FUNCTIONS["cat"](parts)
    if len(parts) == 1:
        grad = grad.clone()
    flush()
    return loss, float(loss), grad


def _dot(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum())


def _largest(vector: Tensor) -> float:
    return float(vector.abs().max())


def _move(params: list[Tensor], start: list[Tensor], direction: Tensor, t: float) -> None:
    """Set the parameters to `start + t * direction`."""
    offset = 0
    for p, origin in zip(params, start, strict=True):
        part = direction[offset : offset + p.numel()].reshape(p.shape)
        p.copy_(origin + part * t)
        offset += p.numel()


def _search(
    closure: Closure, params: list[Tensor], direction: Tensor, start: Point, t: float
) -> tuple[Point, int]:
    origin = [p.detach().clone() for p in params]

    def evaluate(t: float) -> Point:
        _move(params, origin, direction, t)
        _, value, grad = _evaluate(closure, params)
        return Point(t, value, _dot(grad, direction), grad)

    found = strong_wolfe(evaluate, start, t, _largest(direction))
    _move(params, origin, direction, found[0].t)
    return found


def _stride(
    closure: Closure,
    params: list[Tensor],
    direction: Tensor,
    start: Point,
    t: float,
    group: Group,
    iteration: int,
) -> tuple[Point, int]:
    """Step by `t`; the function is not needed after the last one."""
    _move(params, [p.detach().clone() for p in params], direction, t)
    if iteration + 1 == group["max_iter"]:
        return start._replace(t=t), 0
    _, value, grad = _evaluate(closure, params)
    return Point(t, value, 0.0, grad), 1


def _direction(state: State, grad: Tensor, history_size: int) -> Tensor:
    """Return minus the gradient times the estimated inverse Hessian, by the two-loop recursion."""
    if not state["n_iter"]:
        return -grad
    changes, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
    change, step = grad - state["prev_flat_grad"], state["d"] * state["t"]
    curvature = _dot(change, step)
    if curvature > 1e-10:
        for kept, new in ((changes, change), (steps, step), (ro, 1 / curvature)):
            kept.append(new)
            if len(kept) > history_size:
                del kept[0]
        state["H_diag"] = curvature / _dot(change, change)
    direction: Tensor = -grad
    shares = []
    for y, s, r in zip(reversed(changes), reversed(steps), reversed(ro), strict=True):
        share = (s * direction).sum() * r
        direction = direction - y * share
        shares.append(share)
    direction = direction * state["H_diag"]
    for y, s, r, share in zip(changes, steps, ro, reversed(shares), strict=True):
        direction = direction + s * (share - (y * direction).sum() * r)
    return direction
