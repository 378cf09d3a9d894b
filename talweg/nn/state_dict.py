"""Loading a state_dict: all names and shapes are checked before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from talweg.base.errors import DTypeError, InvalidValue
from talweg.engine.creation import as_tensor
from talweg.engine.modes import no_grad
from talweg.engine.tensor import Tensor
from talweg.nn.parameter import Parameter, UninitializedBuffer, UninitializedParameter

if TYPE_CHECKING:
    from talweg.nn.module import Module


PARALLEL = "module."  # what DataParallel puts before every name
_UNKNOWN = (UninitializedParameter, UninitializedBuffer)


class Incompatible(NamedTuple):
    """Names that a state_dict lacks, and names that nothing in the Module has."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"_IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )


class _Slot(NamedTuple):
    """One place of a Module for a Tensor, under its dotted name."""

    key: str
    table: dict[str, Any]
    name: str


def _slots(module: Module) -> Iterator[_Slot]:
    for path, owner in module.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        for table in (owner._parameters, owner._buffers):
            for name, t in table.items():
                if t is not None and name not in owner._transient:
                    yield _Slot(prefix + name, table, name)


def _extras(module: Module) -> dict[str, Module]:
    modules = module.named_modules(remove_duplicate=False)
    return {
        f"{path}._extra_state".lstrip("."): m
        for path, m in modules
        if m.get_extra_state() is not None
    }


def load_into(
    module: Module, state_dict: Mapping[str, Any], strict: bool, assign: bool
) -> Incompatible:
    """Load a state_dict into a Module; see `Module.load_state_dict`."""
    if not isinstance(state_dict, Mapping):
        raise DTypeError(
            f"load_state_dict needs a dict of Tensors by name, got {type(state_dict).__name__}; "
            "tw.load(path) reads one from a file"
        )
    state_dict, versions = _before_loading(module, state_dict, strict)
    slots, extras = list(_slots(module)), _extras(module)
    known = {s.key for s in slots} | set(extras)
    missing = [k for k in (*(s.key for s in slots), *extras) if k not in state_dict]
    if not _counts_batches(versions):
        missing = [k for k in missing if not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state_dict if k not in known]
    found = [(s, as_tensor(state_dict[s.key])) for s in slots if s.key in state_dict]
    found = [(s, value) for s, value in found if not isinstance(value, _UNKNOWN)]
    after = [
        (m, hook)
        for m in module.modules()
        for hook in tuple(m._hooks.get("load_post", {}).values())
    ]
    for m, hook in after:
        hook.function(m, Incompatible(missing, unexpected))
    problems = []
    if strict and unexpected:
        problems.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
    if strict and missing:
        problems.append(f"Missing key(s) in state_dict: {_quoted(missing)}. ")
    problems += [
        f"size mismatch for {slot.key}: copying a param with shape {value.shape} from "
        f"checkpoint, the shape in current model is {slot.table[slot.name].shape}."
        for slot, value in found
        if not isinstance(slot.table[slot.name], _UNKNOWN)
        and value.shape != slot.table[slot.name].shape
    ]
    if strict and unexpected and all(k.startswith(PARALLEL) for k in unexpected):
        problems.append(
            f"The names begin with {PARALLEL!r}, as DataParallel saves them: "
            f'{{k.removeprefix("{PARALLEL}"): v for k, v in state.items()}} takes that off.'
        )
    if problems:
        name = type(module).__name__
        raise InvalidValue(
            f"Error(s) in loading state_dict for {name}:\n\t" + "\n\t".join(problems)
        )
    with no_grad():
        for slot, value in found:
            _load(slot, value, assign)
    for key, owner in extras.items():
        if key in state_dict:
            owner.set_extra_state(state_dict[key])
    return Incompatible(missing, unexpected)


def _before_loading(
    module: Module, state_dict: Mapping[str, Any], strict: bool
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the state_dict as the Modules' hooks want it, and the versions beside it."""
    versions = getattr(state_dict, "_metadata", None) or {}
    before = [
        (path, m, hook)
        for path, m in module.named_modules(remove_duplicate=False)
        for hook in tuple(m._hooks.get("load_pre", {}).values())
    ]
    if before:
        state_dict = dict(state_dict)
    for path, m, hook in before:
        prefix = f"{path}." if path else ""
        hook.function(m, state_dict, prefix, versions.get(path, {}), strict, [], [], [])
    return state_dict, versions


def _counts_batches(versions: Mapping[str, Any]) -> bool:
    """Whether the state_dict is from after the time when batch norms began to count batches.

    PyTorch writes a version for each module beside the values; one that counts is of version 2.
    """
    return any((entry or {}).get("version", 1) >= 2 for entry in versions.values())


def _load(slot: _Slot, value: Tensor, assign: bool) -> None:
    held = slot.table[slot.name]
    if isinstance(held, _UNKNOWN):
        held.materialize(value.shape)
    if not assign:
        held.copy_(value)
    elif isinstance(held, Parameter):
        slot.table[slot.name] = Parameter(value, held.requires_grad)
    else:
        slot.table[slot.name] = value.detach()


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{n}"' for n in names)
