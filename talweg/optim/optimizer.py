"""The base of all optimizers: parameter groups, state, `step()`, saving and loading."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from talweg.base.errors import DTypeError, InvalidValue
from talweg.base.source import warn
from talweg.engine.arranged import is_last
from talweg.engine.barrier import settle
from talweg.engine.creation import full_like, tensor
from talweg.engine.modes import enable_grad, no_grad
from talweg.engine.state import STATE
from talweg.engine.tape import Removable
from talweg.engine.tensor import Tensor, wrap

if TYPE_CHECKING:
    from talweg.ir.node import Node

Group: TypeAlias = dict[str, Any]
State: TypeAlias = dict[str, Any]
Closure: TypeAlias = Callable[[], Any]
Params: TypeAlias = Iterable[Tensor] | Iterable[Group] | Iterable[tuple[str, Tensor]]
StepHook: TypeAlias = Callable[["Optimizer", tuple[Any, ...], dict[str, Any]], Any]

_EMPTY = (
    "optimizer got an empty parameter list; a Module finds the parameters of its attributes, of "
    "nn.ModuleList and nn.ModuleDict, but not those in a plain list or dict"
)
_LABELS = {"lr": "learning rate", "eps": "epsilon value"}


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required: Any = _Required()


def _instead(given: object) -> str:
    """Name what is meant where a Module is given."""
    return "; give it .parameters()" if hasattr(given, "parameters") else ""


def not_negative(**options: Any) -> None:
    """Raise InvalidValue for the first option that is negative or NaN, naming it."""
    for name, value in options.items():
        if not value >= 0:
            label = _LABELS.get(name, f"{name} value")
            raise InvalidValue(f"Invalid {label}: {value}; it must not be negative")


def check_betas(betas: tuple[Any, ...]) -> None:
    """Raise InvalidValue for a decay rate outside [0, 1), naming its index."""
    for i, beta in enumerate(betas):
        if not 0 <= beta < 1:
            raise InvalidValue(
                f"Invalid beta parameter at index {i}: {beta}; it must lie in [0, 1)"
            )


def begun(like: Tensor, value: float = 0.0) -> Tensor:
    """Return state that is the same number everywhere.

    It is known at once, as state is at later steps: the first one then runs their Program. Only
    where other axes than the first stand outermost, it is computed by the first step.
    """
    if is_last(like):
        return full_like(like, value)
    numbers = np.full(like.shape, value, like.dtype.compute)
    return wrap(STATE.builder.constant(numbers, like.dtype))


class Optimizer:
    """Base of the optimizers.

    A subclass defines `update`, the formula for one parameter, or overrides `step`.

    `step()` is a barrier: the new parameters, the state and every other Tensor still in use are
    computed, and what was recorded before is let go, so a training loop needs constant memory.
    Learning rates and other options are numbers of the present step; changing them costs nothing.

    Args:
        params: Tensors, `(name, Tensor)` pairs, or dicts with a `"params"` entry and the options
            that differ for these parameters.
        defaults: the options of groups that do not give their own.

    Attributes:
        param_groups: one dict per group: `"params"` and its options.
        state: for each parameter, a dict of what the formula carries from step to step. Counts such
            as `"step"` are Python numbers.

    >>> class Descent(tw.optim.Optimizer):
    ...     def update(self, param, grad, state, group):
    ...         param.sub_(grad * group["lr"])
    >>> x = tw.tensor([4.0], requires_grad=True)
    >>> x.square().sum().backward()
    >>> Descent([x], {"lr": 0.25}).step()
    >>> x.tolist()
    [2.0]

    Raises:
        TypeError: when `params` is a single Tensor or holds something else than Tensors.
        InvalidValue: for an empty list, a Tensor that is not a leaf or stands in two groups, and
            for a missing option.
        DTypeError: for complex parameters, which only SGD takes.
    """

    handles_complex = False
    decays = False
    numbers: tuple[str, ...] = ("step",)
    run_time_numbers = ("param_groups", "state", "_step_count")

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                "but got a Tensor; put it into a list"
            )
        if defaults.get("differentiable"):
            raise InvalidValue(
                "differentiable=True is not available: step() is not recorded for gradients. "
                "Write the update with ordinary operations to differentiate through it"
            )
        self.defaults = defaults
        self.state: defaultdict[Any, State] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self._step_count = 0
        self._pre_hooks: dict[int, StepHook] = {}
        self._post_hooks: dict[int, StepHook] = {}
        if not isinstance(params, Iterable):
            raise TypeError(
                f"params must be an iterable of Tensors or dicts, got {type(params).__name__}"
                f"{_instead(params)}"
            )
        groups: list[Any] = list(params)
        if not groups:
            raise InvalidValue(_EMPTY)
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pre_hooks": {}, "_post_hooks": {}}

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters to be optimized, for example layers that are unfrozen later.

        Args:
            param_group: `"params"` and the options that differ from the defaults.

        Raises:
            TypeError, InvalidValue: as for the optimizer itself.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group).__name__}")
        group = dict(param_group)
        _settle_params(group)
        for p in group["params"]:
            self._check(p)
        for name, default in self.defaults.items():
            if default is required and name not in group:
                raise InvalidValue(
                    f"parameter group didn't specify a value of required optimization parameter "
                    f"{name}"
                )
            group.setdefault(name, default)
        if len({id(p) for p in group["params"]}) != len(group["params"]):
            warn(
                "optimizer contains a parameter group with duplicate parameters: each is updated "
                "as often as it is listed"
            )
        known = {id(p) for other in self.param_groups for p in other["params"]}
        if any(id(p) in known for p in group["params"]):
            raise InvalidValue("some parameters appear in more than one parameter group")
        if any(("param_names" in g) != ("param_names" in group) for g in self.param_groups):
            raise InvalidValue("all parameter groups must be with or all without parameter names")
        self.param_groups.append(group)

    def _check(self, p: Any) -> None:
        if not isinstance(p, Tensor):
            raise TypeError(
                f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}"
                f"{_instead(p)}"
            )
        if not (p.is_leaf or p.__dict__.get("retains_grad")):
            raise InvalidValue(
                f"can't optimize a non-leaf Tensor: one of shape {p.shape} was computed by "
                f"{type(p.grad_fn).__name__}. Optimize what it was computed from, or detach() it"
            )
        if p.dtype.is_complex and not self.handles_complex:
            raise DTypeError(
                f"{type(self).__name__} does not take parameters of {p.dtype.name}; optimize their "
                "real and imaginary parts"
            )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of all parameters: to None, or to zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad.detach_()
                    p.grad.requires_grad_(False)
                    p.grad.zero_()

    def step(self, closure: Closure | None = None) -> Any:
        """Update all parameters that have a gradient.

        Args:
            closure: clears the gradients, computes the loss, calls its `backward()` and returns it.

        Returns:
            What the closure returned; None without one.

        Raises:
            Whatever the computation of the gradients raises, such as IndexOutOfRange. Parameters
            and state are then as they were before the step.
        """
        for hook in list(self._pre_hooks.values()):
            hook(self, (closure,), {})
        before = self._snapshot()
        try:
            with no_grad():
                loss = self.advance(closure)
            settle(t for t, _ in before[0])
        except BaseException:
            self._restore(*before)
            raise
        self._step_count += 1
        for hook in list(self._post_hooks.values()):
            hook(self, (closure,), {})
        return loss

    def _snapshot(self) -> tuple[list[tuple[Tensor, Node]], dict[Any, State]]:
        held = [p for g in self.param_groups for p in g["params"]]
        state: dict[Any, State] = {}
        for p, entries in self.state.items():
            held += [v for v in entries.values() if isinstance(v, Tensor)]
            state[p] = {k: list(v) if isinstance(v, list) else v for k, v in entries.items()}
        return [(t, t._storage.node) for t in held], state

    def _restore(self, held: list[tuple[Tensor, Node]], state: dict[Any, State]) -> None:
        for t, node in held:
            if t._storage.node is not node:
                t._storage.replace(node)
        self.state.clear()
        self.state.update(state)

    def advance(self, closure: Closure | None) -> Any:
        """Do what `step()` does, without its hooks and its barrier, gradients not being recorded.

        This form calls `update` for each parameter with a gradient; methods that must look at all
        parameters together replace it.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    grad = _gradient(p, group, self.decays)
                    self.update(p, grad, self.state[p], group)
        return loss

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Record the new value of one parameter.

        Args:
            param: to be changed in place.
            grad: its gradient, negated for `maximize` and with the weight decay added, unless that
                is decoupled and done already.
            state: belongs to the parameter; empty at its first step.
            group: the options.
        """
        raise NotImplementedError(f"{type(self).__name__} defines neither update() nor step()")

    def register_step_pre_hook(self, hook: StepHook) -> Removable:
        """Call `hook(optimizer, args, kwargs)` before every step."""
        return Removable(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: StepHook) -> Removable:
        """Call `hook(optimizer, args, kwargs)` after every step."""
        return Removable(self._post_hooks, hook)

    def state_dict(self) -> dict[str, Any]:
        """Return the state and the options, with parameters numbered in the order of the groups.

        The Tensors are those in use, not copies.
        """
        number: dict[Any, int] = {}
        for p in chain.from_iterable(g["params"] for g in self.param_groups):
            number.setdefault(p, len(number))
        return {
            "state": {number.get(p, p): state for p, state in self.state.items() if state},
            "param_groups": [
                {
                    **{name: value for name, value in g.items() if name != "params"},
                    "params": [number[p] for p in g["params"]],
                }
                for g in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state and the options of an optimizer of equally many parameters.

        Tensors are copied and converted to the dtype of their parameter. Counts may be numbers or
        Tensors of one element.

        Raises:
            InvalidValue: when the groups do not fit.
        """
        saved = copy.deepcopy(state_dict["param_groups"])
        groups = self.param_groups
        if len(groups) != len(saved):
            raise InvalidValue(
                f"loaded state dict has a different number of parameter groups: {len(saved)}, the "
                f"optimizer has {len(groups)}"
            )
        for i, (g, s) in enumerate(zip(groups, saved, strict=True)):
            if len(g["params"]) != len(s["params"]):
                raise InvalidValue(
                    "loaded state dict contains a parameter group that doesn't match the size of "
                    f"optimizer's group: group {i} has {len(s['params'])} parameters there, "
                    f"{len(g['params'])} here"
                )
        param: dict[Any, Tensor] = {}
        for g, s in zip(groups, saved, strict=True):
            param.update(zip(s["params"], g["params"], strict=True))
            s["params"] = g["params"]
            if "param_names" in g:
                s["param_names"] = g["param_names"]
            for name, default in self.defaults.items():
                s.setdefault(name, default)
        state: defaultdict[Any, State] = defaultdict(dict)
        with no_grad():
            for key, entries in state_dict["state"].items():
                p = param.get(key)
                state[key if p is None else p] = {
                    name: _number(value) if name in self.numbers else _own(value, p)
                    for name, value in entries.items()
                }
        self.state = state
        self.param_groups = saved


def _settle_params(group: Group) -> None:
    """Make `group["params"]` a list of Tensors, and move their names to `"param_names"`."""
    if "params" not in group:
        raise InvalidValue(f"a parameter group needs an entry 'params'; it has {sorted(group)}")
    params = group["params"]
    if isinstance(params, set | frozenset):
        raise TypeError(
            "optimizer parameters need to be organized in ordered collections, but the ordering of "
            "tensors in sets will change between runs. Please use a list instead"
        )
    listed = [params] if isinstance(params, Tensor) else list(params)
    if not listed:
        raise InvalidValue(_EMPTY)
    named = [isinstance(p, tuple) for p in listed]
    if all(named):
        group["param_names"] = [name for name, _ in listed]
        listed = [p for _, p in listed]
    elif any(named):
        raise InvalidValue("parameters must be all with or all without names")
    group["params"] = listed


def _gradient(p: Tensor, group: Group, decays: bool) -> Tensor:
    """Return the gradient that the formula sees; decoupled weight decay is applied to `p`.

    Args:
        p: a parameter with a gradient.
        group: the options.
        decays: the formula applies the weight decay itself.
    """
    grad = p.grad
    assert grad is not None
    if group.get("maximize"):
        grad = -grad
    decay = group.get("weight_decay")
    if decay and not decays:
        if group.get("decoupled_weight_decay"):
            p.mul_(1 - rate_of(group) * decay)
        else:
            grad = grad + p * decay
    return grad


def rate_of(group: Group) -> Any:
    """Return the learning rate of a group as a number, whatever it was given as."""
    lr = group["lr"]
    return lr if lr.__class__ is float else float(lr)


def _number(value: Any) -> Any:
    found = float(value)
    return int(found) if found.is_integer() else found


def _own(value: Any, p: Tensor | None) -> Any:
    """Return a copy of a loaded value, converted to the dtype of its parameter."""
    if isinstance(value, dict):
        return {name: _own(v, p) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_own(v, p) for v in value)
    if not isinstance(value, Tensor):
        if not hasattr(value, "__array__"):
            return copy.deepcopy(value)
        value = tensor(np.asarray(value))
    if p is None or not p.dtype.is_inexact:
        return value.clone()
    return value.detach().to(p.dtype, copy=True)
