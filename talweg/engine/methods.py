"""The methods and operators of Tensor, attached in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from talweg.base import dtypes
from talweg.engine import (
    conversion,
    creation,
    dependent,
    differentiated,
    interchange,
    printing,
    random,
    reforming,
    subscript,
)
from talweg.engine.direct import arithmetic
from talweg.engine.functions import METHODS, PROPERTIES
from talweg.engine.meta import is_meta
from talweg.engine.steps import Saved
from talweg.engine.tape import Edge
from talweg.engine.tensor import Tensor, wrap
from talweg.ir.node import Node
from talweg.ir.op import Op
from talweg.ops.arithmetic import Add, Div, Mul, Sub

OPERATORS: dict[str, str] = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "truediv": "div",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "pow",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
}
ARITHMETIC: dict[str, Op] = {"add": Add(), "sub": Sub(), "mul": Mul(), "div": Div()}
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")

CONVERSIONS: dict[str, Callable[..., Any]] = {
    "__array__": interchange.to_array,
    "__array_wrap__": interchange.from_array,
    "__bool__": conversion.truth,
    "__complex__": conversion.as_complex,
    "__contains__": conversion.contains,
    "__copy__": conversion.shallow_copy,
    "__deepcopy__": conversion.deepcopy,
    "__dlpack__": interchange.dlpack,
    "__dlpack_device__": interchange.dlpack_device,
    "__float__": conversion.as_float,
    "__format__": printing.formatted,
    "__getitem__": subscript.getitem,
    "__index__": conversion.as_index,
    "__int__": conversion.as_int,
    "__iter__": conversion.iterate,
    "__len__": conversion.length,
    "__reduce_ex__": conversion.reduce,
    "__repr__": printing.text,
    "__reversed__": conversion.backwards,
    "__setitem__": subscript.setitem,
    "backward": differentiated.tensor_backward,
    "clone": conversion.clone,
    "contiguous": conversion.contiguous,
    "copy_": conversion.copy_,
    "cpu": conversion.itself,
    "cuda": conversion.cuda,
    "data_ptr": conversion.data_ptr,
    "detach": differentiated.detach,
    "detach_": differentiated.detach_,
    "dim": conversion.dim,
    "element_size": conversion.element_size,
    "fill_": conversion.fill_,
    "is_complex": conversion.is_complex,
    "is_contiguous": conversion.is_contiguous,
    "is_floating_point": conversion.is_floating_point,
    "item": conversion.item,
    "nelement": conversion.numel,
    "numel": conversion.numel,
    "numpy": conversion.numpy,
    "pin_memory": conversion.itself,
    "register_hook": differentiated.register_hook,
    "register_post_accumulate_grad_hook": differentiated.register_post_accumulate_grad_hook,
    "requires_grad_": differentiated.requires_grad_,
    "retain_grad": differentiated.retain_grad,
    "size": conversion.size,
    "storage_offset": conversion.storage_offset,
    "stride": conversion.stride,
    "to": conversion.to,
    "to_device": conversion.to_device,
    "tolist": conversion.tolist,
    "type": conversion.type_of,
    "type_as": conversion.to,
    "zero_": conversion.zero_,
}

CASTS = {
    "float": dtypes.float32,
    "double": dtypes.float64,
    "half": dtypes.float16,
    "bfloat16": dtypes.bfloat16,
    "int": dtypes.int32,
    "long": dtypes.int64,
    "short": dtypes.int16,
    "char": dtypes.int8,
    "byte": dtypes.uint8,
    "bool": dtypes.bool_,
}


def _on_cpu(self: Tensor) -> bool:
    """Whether the values are on the CPU."""
    return not is_meta(self)


def _no(self: Tensor) -> bool:
    """Whether the values are of a kind that talweg does not have."""
    return False


KINDS = ("is_sparse", "is_sparse_csr", "is_quantized", "is_mkldnn", "is_nested")
PLACES = ("is_mps", "is_xpu", "is_xla", "is_ipu", "is_vulkan")

READ_ONLY: dict[str, Callable[..., Any]] = {
    "device": conversion.place,
    "is_cpu": _on_cpu,
    "is_meta": is_meta,
    "is_cuda": conversion.is_cuda,
    **dict.fromkeys((*KINDS, *PLACES), _no),
    "itemsize": conversion.element_size,
    "layout": conversion.layout_of,
    "nbytes": conversion.nbytes,
}


MAKERS: tuple[Callable[..., Tensor], ...] = (
    creation.zeros,
    creation.ones,
    creation.empty,
    creation.full,
    creation.tensor,
)


def _numbers_only(function: Callable[..., Any]) -> Callable[..., Any]:
    def operator(self: Tensor, other: Any) -> Any:
        if not isinstance(other, Tensor | bool | int | float | complex):
            other = _operand(other)
            if other is NotImplemented:
                return NotImplemented
        return function(self, other)

    return operator


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    def operator(self: Tensor, other: Any) -> Any:
        if not isinstance(other, Tensor | bool | int | float | complex):
            other = _operand(other)
            if other is NotImplemented:
                return NotImplemented
        return function(other, self)

    return operator


def _operand(other: Any) -> Any:
    if hasattr(other, "__array__"):
        return creation.tensor(other.__array__())
    return NotImplemented


def _shown(node: Node, edge: Edge) -> Tensor:
    """Return what a step of the tape has saved: a value and where its gradient goes."""
    made = wrap(node)
    made._edge = edge
    return made


def attach() -> None:
    """Give Tensor its methods, operators and properties."""
    Saved.as_tensor = _shown
    for table in (METHODS, CONVERSIONS, random.METHODS, dependent.METHODS, reforming.METHODS):
        for name, method in table.items():
            setattr(Tensor, name, method)
    for name, dtype in CASTS.items():
        setattr(Tensor, name, conversion.caster(dtype, name))
    for maker in MAKERS:
        setattr(Tensor, f"new_{maker.__name__}", creation.new_like(maker))
    for name, getter in (*PROPERTIES.items(), *READ_ONLY.items()):
        setattr(Tensor, name, property(getter))
    setattr(Tensor, "data", property(differentiated.get_data, differentiated.set_data))  # noqa: B010
    for name, target in OPERATORS.items():
        if target not in METHODS:
            continue
        plain, reflected = _numbers_only(METHODS[target]), _reflected(METHODS[target])
        if target in ARITHMETIC:
            op = ARITHMETIC[target]
            plain = arithmetic(op, target, plain)
            reflected = arithmetic(op, target, reflected, reflected=True)
        setattr(Tensor, f"__{name}__", plain)
        setattr(Tensor, f"__r{name}__", reflected)
        if f"{target}_" in METHODS:
            setattr(Tensor, f"__i{name}__", _numbers_only(METHODS[f"{target}_"]))
    for name in COMPARISONS:
        setattr(Tensor, f"__{name}__", _numbers_only(METHODS[name]))
    setattr(Tensor, "__hash__", object.__hash__)  # noqa: B010
    setattr(Tensor, "__array_priority__", 1000)  # noqa: B010
    setattr(Tensor, "__neg__", METHODS["neg"])  # noqa: B010
    setattr(Tensor, "__pos__", METHODS["positive"])  # noqa: B010
    setattr(Tensor, "__abs__", METHODS["abs"])  # noqa: B010
    setattr(Tensor, "__invert__", METHODS["bitwise_not"])  # noqa: B010
