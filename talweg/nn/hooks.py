"""Hooks of a Module: what runs before and after `forward`, and around its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from talweg.base.errors import InvalidValue
from talweg.engine.modes import is_grad_enabled
from talweg.engine.record import lift
from talweg.engine.tape import Removable
from talweg.engine.tensor import Tensor
from talweg.fn.math import clone

if TYPE_CHECKING:
    from talweg.nn.module import Module

Tables = dict[str, dict[int, Any]]
Gradients = tuple[Tensor | None, ...]


class _Hook(NamedTuple):
    function: Callable[..., Any]
    with_kwargs: bool
    always_call: bool


def register(
    tables: Tables,
    kind: str,
    function: Callable[..., Any],
    prepend: bool,
    with_kwargs: bool = False,
    always_call: bool = False,
) -> Removable:
    """Add a hook to the table of its kind."""
    table = tables.setdefault(kind, {})
    handle = Removable(table, _Hook(function, with_kwargs, always_call))
    if prepend:
        newest = table.pop(handle.id)
        rest = dict(table)
        table.clear()
        table.update({handle.id: newest, **rest})
    return handle


# PyTorch's names of the tables: dicts of functions by number.
HOOK_TABLES = {
    "_forward_pre_hooks": "forward_pre",
    "_forward_hooks": "forward",
    "_backward_pre_hooks": "backward_pre",
    "_backward_hooks": "backward",
}


def functions_of(tables: Tables, name: str) -> dict[int, Callable[..., Any]]:
    """Return the functions of a table of hooks, by PyTorch's name of it; a copy."""
    return {k: hook.function for k, hook in tables.get(HOOK_TABLES[name], {}).items()}


class Hooked:
    """What hooks a Module has."""

    _hooks: Tables

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Removable:
        """Call `hook(module, args)` before `forward`; what it returns replaces the arguments.

        Args:
            hook: with `with_kwargs`, `hook(module, args, kwargs)`, returning both or None.
            prepend: run it before the hooks registered earlier.
            with_kwargs: see `hook`.
        """
        return register(self._hooks, "forward_pre", hook, prepend, with_kwargs=with_kwargs)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> Removable:
        """Call `hook(module, args, output)` after `forward`; what it returns replaces the output.

        Args:
            hook: with `with_kwargs`, `hook(module, args, kwargs, output)`.
            prepend: run it before the hooks registered earlier.
            with_kwargs: see `hook`.
            always_call: run it also when `forward` raises, with None as output.
        """
        return register(self._hooks, "forward", hook, prepend, with_kwargs, always_call)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> Removable:
        """Call `hook(module, grad_output)` before the gradients of the inputs are computed."""
        return register(self._hooks, "backward_pre", hook, prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> Removable:
        """Call `hook(module, grad_input, grad_output)` when the gradients of the inputs are known.

        Both are tuples, with None for what has no gradient; what the hook returns replaces
        `grad_input`.
        """
        return register(self._hooks, "backward", hook, prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> Removable:
        """Call `hook(module, grad_input, grad_output)`: the older `register_full_backward_hook`.

        `grad_input` is that of the Module's inputs; PyTorch gives that of its last operation.
        """
        return register(self._hooks, "backward", hook, False)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> Removable:
        """Call `hook(module, prefix, keep_vars)` before `state_dict` reads this Module."""
        return register(self._hooks, "state_dict_pre", hook, False)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> Removable:
        """Call `hook(module, state_dict, prefix, local_metadata)` after `state_dict`.

        It may change the dict, which may hold other Modules' entries, too.
        """
        return register(self._hooks, "state_dict", hook, False)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> Removable:
        """Call a hook before `load_state_dict` reads this Module's entries.

        `hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
        error_msgs)` may change `state_dict`, which is a copy.
        """
        return register(self._hooks, "load_pre", hook, False)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> Removable:
        """Call `hook(module, incompatible_keys)` after `load_state_dict` has loaded this Module.

        It may change the lists of missing and unexpected names before they are reported.
        """
        return register(self._hooks, "load_post", hook, False)

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> Removable:
        return register(self._hooks, "state_dict", hook, False)

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> Removable:
        def called(module: Any, *args: Any) -> Any:
            return hook(module, *args) if with_module else hook(*args)

        return register(self._hooks, "load_pre", called, False)


def call_with_hooks(
    module: Module, tables: Tables, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call `module.forward` with all hooks around it."""
    for hook in list(tables.get("forward_pre", {}).values()):
        args, kwargs = _before(module, hook, args, kwargs)
    around = _Around(module, tables) if is_grad_enabled() else None
    if around is not None and around.wanted:
        args = around.inputs(args)
    done: set[int] = set()
    try:
        output = module.forward(*args, **kwargs)
        for key, hook in list(tables.get("forward", {}).items()):
            done.add(key)
            output = _after(module, hook, args, kwargs, output)
    except Exception:
        for key, hook in list(tables.get("forward", {}).items()):
            if hook.always_call and key not in done:
                _after(module, hook, args, kwargs, None)
        raise
    if around is not None and around.wanted:
        output = around.outputs(output)
    return output


def _before(
    module: Module, hook: _Hook, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if hook.with_kwargs:
        changed = hook.function(module, args, kwargs)
        if changed is None:
            return args, kwargs
        if not isinstance(changed, tuple) or len(changed) != 2:
            raise InvalidValue(
                f"a forward pre-hook with kwargs must return None or (args, kwargs), got {changed}"
            )
        return changed
    changed = hook.function(module, args)
    if changed is None:
        return args, kwargs
    return (changed if isinstance(changed, tuple) else (changed,)), kwargs


def _after(
    module: Module, hook: _Hook, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> Any:
    given = (args, kwargs) if hook.with_kwargs else (args,)
    changed = hook.function(module, *given, output)
    return output if changed is None else changed


def _passed_through(b: Any, *tensors: Any) -> tuple[Any, ...]:
    return tuple(clone(b, t) for t in tensors)


_passed_through.__name__ = "backward_hook"
_pass_through = lift(_passed_through)


class _Around:
    """Backward hooks of one call: steps of the tape before the inputs and after the outputs."""

    def __init__(self, module: Module, tables: Tables) -> None:
        self.module = module
        self.pre = list(tables.get("backward_pre", {}).values())
        self.full = list(tables.get("backward", {}).values())
        self.wanted = bool(self.pre or self.full)
        self.grad_output: Gradients = ()
        self.places: list[int] = []
        self.count = 0

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments, the Tensors with gradients behind a step that runs the hooks."""
        self.count = len(args)
        self.places = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
        if not self.places:
            return args
        passed = _pass_through(*(args[i] for i in self.places))
        passed[0].grad_fn.register_prehook(self._run_full)
        out = list(args)
        for i, t in zip(self.places, passed, strict=True):
            out[i] = t
        return tuple(out)

    def outputs(self, output: Any) -> Any:
        """Return the outputs behind a step that notes their gradients."""
        listed = list(output) if isinstance(output, tuple | list) else [output]
        places = [i for i, t in enumerate(listed) if isinstance(t, Tensor) and t.requires_grad]
        if not places:
            return output
        passed = _pass_through(*(listed[i] for i in places))
        step = passed[0].grad_fn

        def note(gradients: Gradients) -> Gradients:
            full: list[Tensor | None] = [None] * len(listed)
            for i, g in zip(places, gradients, strict=True):
                full[i] = g
            self.grad_output = self._run_pre(tuple(full))
            if not self.places:
                for hook in self.full:
                    hook.function(self.module, (None,) * self.count, self.grad_output)
            return tuple(self.grad_output[i] for i in places)

        step.register_prehook(note)
        for i, t in zip(places, passed, strict=True):
            listed[i] = t
        if not isinstance(output, tuple | list):
            return listed[0]
        return type(output)(*listed) if hasattr(output, "_fields") else type(output)(listed)

    def _run_pre(self, grad_output: Gradients) -> Gradients:
        for hook in self.pre:
            changed = hook.function(self.module, grad_output)
            if changed is not None:
                grad_output = changed if isinstance(changed, tuple) else (changed,)
        return grad_output

    def _run_full(self, gradients: Gradients) -> Gradients:
        full: list[Tensor | None] = [None] * self.count
        for i, g in zip(self.places, gradients, strict=True):
            full[i] = g
        grad_input: Gradients = tuple(full)
        for hook in self.full:
            changed = hook.function(self.module, grad_input, self.grad_output)
            if changed is None:
                continue
            grad_input = changed if isinstance(changed, tuple) else (changed,)
            if len(grad_input) != self.count:
                raise InvalidValue(
                    f"a backward hook of {type(self.module).__name__} returned {len(grad_input)} "
                    f"gradients for {self.count} inputs"
                )
        return tuple(grad_input[i] for i in self.places)
