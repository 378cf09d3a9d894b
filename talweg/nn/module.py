"""Module: the base of all layers and networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, overload

from talweg.base.dtypes import BY_NAME, DType, as_dtype, float16, float32, float64
from talweg.base.dtypes import bfloat16 as bfloat16_
from talweg.base.errors import DTypeError, InvalidValue
from talweg.engine import meta
from talweg.engine.conversion import images_in
from talweg.engine.creation import check_device, empty_like
from talweg.engine.modes import no_grad
from talweg.engine.tensor import Tensor
from talweg.nn.hooks import HOOK_TABLES, Hooked, call_with_hooks, functions_of
from talweg.nn.keywords import check_keywords
from talweg.nn.parameter import Buffer, Parameter
from talweg.nn.state_dict import Incompatible, load_into

_TABLES = ("_parameters", "_buffers", "_modules")


def _unimplemented(self: Module, *args: Any, **kwargs: Any) -> Any:
    """Compute the output of the Module; every subclass defines it. Call the Module itself."""
    raise NotImplementedError(f'Module [{type(self).__name__}] is missing the "forward" function')


class Module(Hooked):
    """Base class of all networks and layers.

    A Module holds Parameters, Buffers and other Modules, registered when they are assigned to its
    attributes, and computes something of its inputs in `forward`.

    Attributes:
        training: whether the Module is in training mode; see `train`.

    Example:
        >>> import talweg as tw
        >>> class Net(tw.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.hidden = tw.nn.Linear(4, 8)
        ...         self.out = tw.nn.Linear(8, 2)
        ...     def forward(self, x):
        ...         return self.out(self.hidden(x).relu())
        >>> net = Net()
        >>> net
        Net(
          (hidden): Linear(in_features=4, out_features=8, bias=True)
          (out): Linear(in_features=8, out_features=2, bias=True)
        )
        >>> net(tw.ones(3, 4)).shape
        (3, 2)
    """

    training: bool
    forward: Callable[..., Any] = _unimplemented
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _transient: set[str]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if kwargs:
            check_keywords(cls.__init__, cls.__name__, kwargs)
        return super().__new__(cls)

    def __init__(self) -> None:
        for name in _TABLES:
            self.__dict__[name] = {}
        self.__dict__.update(_transient=set(), _hooks={}, training=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._hooks:
            try:
                return self.forward(*args, **kwargs)
            except TypeError:
                check_keywords(self.forward, type(self).__name__, kwargs)
                raise
        return call_with_hooks(self, self._hooks, args, kwargs)

    # Attributes.

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for table in _TABLES:
            if table in own and name in own[table]:
                return own[table][name]
        if name in HOOK_TABLES and "_hooks" in own:
            return functions_of(self._hooks, name)
        text = f"'{type(self).__name__}' object has no attribute '{name}'"
        hint = "" if "_hooks" in own else "; its __init__ must call super().__init__() first"
        raise AttributeError(text + hint, name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            self._make_room(name, "_parameters", value)
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._make_room(name, "_modules", value)
            self._modules[name] = value
        elif isinstance(value, Buffer):
            self._make_room(name, "_buffers", value)
            self.register_buffer(name, value, value.persistent)
        elif table := next((t for t in _TABLES if name in own.get(t, ())), None):
            if value is not None and not (table == "_buffers" and isinstance(value, Tensor)):
                wanted = {"_parameters": "Parameter", "_buffers": "Tensor", "_modules": "Module"}
                raise DTypeError(
                    f"cannot assign '{type(value).__name__}' as {table[1:-1]} '{name}' "
                    f"({wanted[table]} or None expected)"
                )
            own[table][name] = value
        else:
            object.__setattr__(self, name, value)

    def _make_room(self, name: str, table: str, value: object) -> None:
        own = self.__dict__
        if table not in own:
            raise AttributeError(
                f"cannot assign a {type(value).__name__} before super().__init__() was called in "
                f"{type(self).__name__}"
            )
        own.pop(name, None)
        for other in _TABLES:
            if other != table:
                own[other].pop(name, None)

    def __delattr__(self, name: str) -> None:
        for table in _TABLES:
            if name in self.__dict__[table]:
                del self.__dict__[table][name]
                self._transient.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted(
            {*object.__dir__(self), *(k for t in _TABLES for k in self.__dict__.get(t, ()))}
        )

    # Registration.

    def _check_name(self, kind: str, name: str, table: str) -> None:
        if not isinstance(name, str):
            raise InvalidValue(f"{kind} name should be a string, got {type(name).__name__}")
        if "." in name:
            raise InvalidValue(f'{kind} name can\'t contain ".", got {name!r}')
        if not name:
            raise InvalidValue(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise InvalidValue(f"attribute '{name}' already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a Parameter, or None as its place.

        Raises:
            InvalidValue: for a name that is empty, dotted or taken.
            DTypeError: for another Tensor than a Parameter.
        """
        self._check_name("parameter", name, "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise DTypeError(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' "
                "(nn.Parameter or None required)"
            )
        if param is not None and not param.is_leaf:
            raise InvalidValue(
                f"parameter '{name}' must be a leaf: it was computed from other Tensors"
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a Tensor that is not trained, such as a running mean, or None as its place.

        Args:
            name: its attribute.
            tensor: the Tensor.
            persistent: whether it is part of `state_dict()`.

        Raises:
            InvalidValue: for a name that is empty, dotted or taken.
            DTypeError: for what is not a Tensor.
        """
        self._check_name("buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise DTypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' "
                "(Tensor or None required)"
            )
        self._buffers[name] = tensor
        self._transient.discard(name)
        if not persistent:
            self._transient.add(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Add a child Module; see `add_module`."""
        self.add_module(name, module)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child Module, or None as its place.

        Raises:
            InvalidValue: for a name that is empty, dotted or taken.
            DTypeError: for what is not a Module.
        """
        if module is not None and not isinstance(module, Module):
            raise DTypeError(f"{type(module).__name__} is not a Module subclass")
        self._check_name("module", name, "_modules")
        self._modules[name] = module

    # Members.

    def _members(
        self, table: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        owners = self.named_modules(None, prefix, remove_duplicate) if recurse else [(prefix, self)]
        for path, module in owners:
            for name, value in getattr(module, table).items():
                if value is None or (remove_duplicate and id(value) in seen):
                    continue
                seen.add(id(value))
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Iterate over the Parameters and their dotted names, each once."""
        return self._members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Iterate over the Parameters, with `recurse` those of all Modules inside too."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the buffers and their dotted names, each once."""
        return self._members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Iterate over the buffers, with `recurse` those of all Modules inside too."""
        return (t for _, t in self.named_buffers(recurse=recurse))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Iterate over the child Modules and their names, each once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """Iterate over the child Modules."""
        return (m for _, m in self.named_children())

    def named_modules(
        self,
        memo: set[Module] | None = None,
        prefix: str = "",
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Module]]:
        """Iterate over this Module and all inside, with dotted names, each once.

        Args:
            memo: Modules to leave out; those found are added.
            prefix: stands before all names.
            remove_duplicate: False gives a Module once per name.
        """
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                inside = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, inside, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """Iterate over this Module and all Modules inside."""
        return (m for _, m in self.named_modules())

    def get_submodule(self, target: str) -> Module:
        """Return the Module of a dotted name; "" is this Module.

        Raises:
            AttributeError: when there is none.
        """
        module = self
        for name in target.split(".") if target else ():
            found = getattr(module, name)
            if not isinstance(found, Module):
                raise AttributeError(f"`{name}` of {target!r} is not an nn.Module")
            module = found
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a Module in the place of a dotted name.

        Raises:
            InvalidValue: for an empty name.
            AttributeError: when there is none; without `strict`, the last part may be new.
        """
        path, _, name = target.rpartition(".")
        if not name:
            raise InvalidValue("Cannot set the submodule without a target name!")
        owner = self.get_submodule(path)
        if strict and not isinstance(getattr(owner, name), Module):
            raise AttributeError(f"`{name}` of {target!r} is not an nn.Module")
        if not isinstance(module, Module):
            raise InvalidValue(f"`module` is not an nn.Module, got {type(module)}")
        setattr(owner, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """Return the Parameter of a dotted name.

        Raises:
            AttributeError: when there is none.
        """
        path, _, name = target.rpartition(".")
        found = getattr(self.get_submodule(path), name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{target}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer of a dotted name.

        Raises:
            AttributeError: when there is none.
        """
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found = module._buffers.get(name)
        if found is None:
            raise AttributeError(f"`{target}` is not a buffer")
        return found

    # Conversion and modes.

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on all Modules inside, then on this one; return this Module."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        with no_grad():
            for child in self.children() if recurse else ():
                child._apply(fn)
            for p in self._parameters.values():
                if p is not None:
                    p.data = fn(p.data)
                    if p.grad is not None:
                        p._grad = fn(p.grad.detach())
            for name, t in self._buffers.items():
                if t is not None:
                    self._buffers[name] = fn(t)
        return self

    @overload
    def to(self, dtype: DType | str, /) -> Self: ...
    @overload
    def to(self, *args: Any, **kwargs: Any) -> Self: ...
    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Convert the floating Parameters and buffers: `to(dtype)`, `to(device)`, `to(tensor)`.
        With `memory_format=tw.channels_last`, all of 4 axes are stored so; of 5 with the other one.

        Returns:
            This Module, changed.
        """
        dtype, place = kwargs.get("dtype"), kwargs.get("device")
        for a in args:
            if isinstance(a, Tensor):
                dtype = a.dtype
            elif isinstance(a, DType) or (isinstance(a, str) and a in BY_NAME):
                dtype = as_dtype(a)
            elif not isinstance(a, bool):
                place = a
        check_device(place)
        if place is not None and (meta.PLACE.used or meta.asked(place)):
            self._apply(lambda t: t.to(place))
        if dtype is not None:
            self._convert(as_dtype(dtype))
        wanted = kwargs.get("memory_format")
        return self if wanted is None else self._apply(lambda t: images_in(t, wanted))

    def _convert(self, dtype: DType) -> Self:
        if not dtype.is_inexact:
            raise DTypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, got {dtype.name}"
            )
        return self._apply(lambda t: t.to(dtype) if t.dtype.is_inexact else t)

    def type(self, dst_type: DType | str) -> Self:
        """Convert all Parameters and buffers to a dtype."""
        return self._apply(lambda t: t.to(as_dtype(dst_type)))

    def float(self) -> Self:
        """Convert the floating Parameters and buffers to float32."""
        return self._convert(float32)

    def double(self) -> Self:
        """Convert the floating Parameters and buffers to float64."""
        return self._convert(float64)

    def half(self) -> Self:
        """Convert the floating Parameters and buffers to float16."""
        return self._convert(float16)

    def bfloat16(self) -> Self:
        """Convert the floating Parameters and buffers to bfloat16."""
        return self._convert(bfloat16_)

    def cpu(self) -> Self:
        """Return this Module: it is on the CPU already."""
        return self

    def cuda(self, device: object = None) -> Self:
        """Move this Module to a GPU.

        Raises:
            DeviceError: always: there is none, so far.
        """
        return self.to("cuda")

    def share_memory(self) -> Self:
        """Keep the values where other processes see what is written to them.

        Raises:
            NotImplementedError: always: Tensors that are sent to a process are copied, so what it
                trains would be lost.
        """
        raise NotImplementedError(
            "share_memory: processes get copies of Tensors; train here, or send back a state_dict"
        )

    def to_empty(self, *, device: object, recurse: bool = True) -> Self:
        """Give all Parameters and buffers unspecified values on a device, "meta" ones memory."""
        check_device(device)
        return self._apply(lambda t: empty_like(t, device=device), recurse)

    def train(self, mode: bool = True) -> Self:
        """Switch training mode on or off, here and in all Modules inside."""
        self.training = bool(mode)
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Switch training mode off: `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad` of all Parameters."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all Parameters, or fill them with zeros."""
        for p in self.parameters():
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                p.grad = p.grad.detach().zero_()

    # State.

    def state_dict(
        self,
        destination: dict[str, Any] | None = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> dict[str, Any]:
        """Return all Parameters and persistent buffers by dotted name, in order.

        Args:
            destination: a dict to add them to.
            prefix: stands before all names.
            keep_vars: give the Parameters themselves, not their detached values.
        """
        out = {} if destination is None else destination
        for hook in tuple(self._hooks.get("state_dict_pre", {}).values()):
            hook.function(self, prefix, keep_vars)
        for name, t in (*self._parameters.items(), *self._buffers.items()):
            if t is not None and name not in self._transient:
                out[prefix + name] = t if keep_vars else t.detach()
        extra = self.get_extra_state()
        if extra is not None:
            out[f"{prefix}_extra_state"] = extra
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(out, f"{prefix}{name}.", keep_vars)
        for hook in tuple(self._hooks.get("state_dict", {}).values()):
            hook.function(self, out, prefix, {})
        return out

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Incompatible:
        """Copy values by dotted name into the Parameters and buffers.

        Args:
            state_dict: as `state_dict()` returns it.
            strict: missing and unexpected names are errors. Numbers of batches seen by a batch norm
                may be missing: files from before 2018 lack them.
            assign: take over the given Tensors instead of copying their values.

        Returns:
            A named tuple of the lists `missing_keys` and `unexpected_keys`.

        Raises:
            InvalidValue: listing every missing and unexpected name and every shape that differs;
                nothing is loaded then.
        """
        return load_into(self, state_dict, strict, assign)

    def get_extra_state(self) -> Any:
        """Return what else belongs into `state_dict()`; None: nothing. For subclasses."""
        return None

    def set_extra_state(self, state: Any) -> None:
        """Take over what `get_extra_state` returned. For subclasses that define it."""
        raise NotImplementedError(f"{type(self).__name__} defines no set_extra_state")

    # Text.

    def extra_repr(self) -> str:
        """Return what stands between the parentheses of the Module's text. For subclasses."""
        return ""

    def _get_name(self) -> str:
        return self.__class__.__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        head = extra.split("\n") if extra else []
        inner = [f"({k}): " + repr(m).replace("\n", "\n  ") for k, m in self._modules.items()]
        lines = head + inner
        if len(head) == 1 and not inner:
            return f"{self._get_name()}({head[0]})"
        body = "\n  ".join(lines)
        return f"{self._get_name()}(\n  {body}\n)" if lines else f"{self._get_name()}()"
