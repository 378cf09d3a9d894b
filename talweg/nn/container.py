"""Modules and Parameters in sequences and by name."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Self, overload

from talweg.base.errors import IndexOutOfRange, InvalidValue
from talweg.engine.tensor import Tensor
from talweg.nn.module import Module
from talweg.nn.parameter import Parameter


def _place(index: Any, length: int) -> int:
    at = operator.index(index)
    if not -length <= at < length:
        raise IndexOutOfRange(f"index {at} is out of range for {length} entries")
    return at % length


class _Listed(Module):
    """Modules numbered from 0: what `Sequential` and `ModuleList` share."""

    _modules: dict[str, Any]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._modules.values()))

    @overload
    def __getitem__(self, index: slice) -> Self: ...
    @overload
    def __getitem__(self, index: int) -> Any: ...
    def __getitem__(self, index: int | slice) -> Any:
        named = list(self._modules.items())
        if isinstance(index, slice):
            return self._of(named[index])
        return named[_place(index, len(named))][1]

    def _of(self, named: list[tuple[str, Module]]) -> Self:
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, list(self._modules)[_place(index, len(self))], module)

    def __delitem__(self, index: int | slice) -> None:
        names = list(self._modules)
        gone = names[index] if isinstance(index, slice) else [names[_place(index, len(names))]]
        for name in gone:
            del self._modules[name]
        self._renumber(list(self._modules.values()))

    def _renumber(self, modules: Iterable[Module]) -> None:
        self._modules = {}
        for i, m in enumerate(modules):
            self._modules[str(i)] = m

    def append(self, module: Module) -> Self:
        """Add a Module behind the others."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add Modules behind the others."""
        for m in list(modules):
            self.append(m)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Put a Module before the one at `index`."""
        listed = list(self._modules.values())
        if not -len(listed) <= index <= len(listed):
            raise IndexOutOfRange(f"index {index} is out of range for {len(listed)} entries")
        listed.insert(index, module)
        self._renumber(listed)
        return self

    def pop(self, index: int = -1) -> Module:
        """Remove a Module and return it."""
        module: Module = self[index]
        del self[index]
        return module

    def __dir__(self) -> list[str]:
        return [k for k in super().__dir__() if not k.isdigit()]


class Sequential(_Listed):
    """Modules called one after the other.

    Args:
        args: Modules, or one dict of named Modules.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Sequential(tw.nn.Linear(4, 3), tw.nn.ReLU())
        Sequential(
          (0): Linear(in_features=4, out_features=3, bias=True)
          (1): ReLU()
        )
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        named: Iterable[tuple[str, Module]]
        if len(args) == 1 and isinstance(args[0], Mapping):
            named = args[0].items()
        else:
            named = ((str(i), m) for i, m in enumerate(args))
        for name, module in named:
            self.add_module(name, module)

    def _of(self, named: list[tuple[str, Module]]) -> Self:
        return self.__class__(dict(named))

    def _renumber(self, modules: Iterable[Module]) -> None:
        if all(k.isdigit() for k in self._modules):
            super()._renumber(modules)

    def insert(self, index: int, module: Module) -> Self:
        if not all(k.isdigit() for k in self._modules):
            raise InvalidValue("insert needs Modules without names of their own")
        return super().insert(index, module)

    def __add__(self, other: Sequential) -> Sequential:
        return Sequential(*self, *other)

    def __mul__(self, times: int) -> Sequential:
        if times < 1:
            raise InvalidValue(f"a Sequential can be repeated 1 or more times, not {times}")
        return Sequential(*(m for _ in range(times) for m in self))

    def forward(self, input: Any) -> Any:
        for module in self._modules.values():
            input = module(input)
        return input


class ModuleList(_Listed):
    """A list of Modules.

    Example:
        >>> import talweg as tw
        >>> layers = tw.nn.ModuleList(tw.nn.Linear(4, 4) for _ in range(3))
        >>> len(layers), len(list(layers.parameters()))
        (3, 6)
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def _of(self, named: list[tuple[str, Module]]) -> Self:
        return self.__class__(m for _, m in named)

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __repr__(self) -> str:
        """Return a text in which equal neighbours are written once."""
        lines = []
        start = 0
        for text, group in groupby(map(repr, self)):
            count = len(list(group))
            name = f"({start})" if count == 1 else f"({start}-{start + count - 1})"
            times = "" if count == 1 else f"{count} x "
            lines.append(f"\n  {name}: {times}" + text.replace("\n", "\n  "))
            start += count
        body = "".join(lines)
        return f"{self._get_name()}({body}\n)" if lines else f"{self._get_name()}()"


class ModuleDict(Module):
    """Modules by name.

    Example:
        >>> import talweg as tw
        >>> choices = tw.nn.ModuleDict({"relu": tw.nn.ReLU(), "tanh": tw.nn.Tanh()})
        >>> choices["relu"](tw.tensor([-1.0, 1.0])).tolist()
        [0.0, 1.0]
    """

    _modules: dict[str, Any]

    def __init__(
        self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None
    ) -> None:
        super().__init__()
        self.update(modules or {})

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Remove all Modules."""
        self._modules.clear()

    def pop(self, key: str) -> Module:
        """Remove a Module and return it."""
        module: Module = self._modules.pop(key)
        return module

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._modules.keys()

    def items(self) -> Iterable[tuple[str, Module]]:
        """Return names and Modules."""
        return self._modules.items()

    def values(self) -> Iterable[Module]:
        """Return the Modules."""
        return self._modules.values()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add Modules by name."""
        for name, module in dict(modules).items():
            self[name] = module


def _parameter(value: Any) -> Any:
    if isinstance(value, Parameter) or not isinstance(value, Tensor):
        return value
    return Parameter(value)


class ParameterList(Module):
    """A list of Parameters; Tensors become Parameters. Modules and other values are kept, too.

    Example:
        >>> import talweg as tw
        >>> rows = tw.nn.ParameterList([tw.zeros(2), tw.ones(3)])
        >>> [p.shape for p in rows]
        [(2,), (3,)]
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        self.extend(values or ())

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return iter([getattr(self, str(i)) for i in range(self._size)])

    @overload
    def __getitem__(self, index: slice) -> ParameterList: ...
    @overload
    def __getitem__(self, index: int) -> Any: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return ParameterList(list(self)[index])
        return getattr(self, str(_place(index, len(self))))

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, str(_place(index, len(self))), _parameter(value))

    def append(self, value: Any) -> Self:
        """Add a value behind the others."""
        setattr(self, str(self._size), _parameter(value))
        self._size += 1
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        """Add values behind the others."""
        for v in list(values):
            self.append(v)
        return self

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self.extend(values)

    def extra_repr(self) -> str:
        return "\n".join(f"({k}): {_summary(p)}" for k, p in self._parameters.items())


class ParameterDict(Module):
    """Parameters by name; Tensors become Parameters.

    Args:
        parameters: a mapping, or pairs of names and Tensors.

    Example:
        >>> import talweg as tw
        >>> scales = tw.nn.ParameterDict({"low": tw.zeros(2), "high": tw.ones(2)})
        >>> sorted(name for name, _ in scales.named_parameters())
        ['high', 'low']
        >>> scales["high"].requires_grad
        True
    """

    def __init__(
        self, parameters: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] | None = None
    ) -> None:
        super().__init__()
        self.update(parameters or {})

    def __getitem__(self, key: str) -> Any:
        return self._parameters[key]

    def __setitem__(self, key: str, value: Tensor) -> None:
        self.register_parameter(key, _parameter(value))

    def __delitem__(self, key: str) -> None:
        del self._parameters[key]

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __contains__(self, key: str) -> bool:
        return key in self._parameters

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._parameters.keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return names and Parameters."""
        return self._parameters.items()

    def values(self) -> Iterable[Any]:
        """Return the Parameters."""
        return self._parameters.values()

    def pop(self, key: str) -> Any:
        """Remove a Parameter and return it."""
        return self._parameters.pop(key)

    def update(self, parameters: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]) -> None:
        """Add Parameters by name."""
        for name, value in dict(parameters).items():
            self[name] = value

    def extra_repr(self) -> str:
        return "\n".join(f"({k}): {_summary(p)}" for k, p in self._parameters.items())


def _summary(p: Tensor | None) -> str:
    if p is None:
        return "None"
    sizes = "x".join(map(str, p.shape))
    return f"Parameter containing: [{p.type()} of size {sizes}]"
