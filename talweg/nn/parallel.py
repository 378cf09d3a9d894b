"""Modules over several devices: with the CPU alone, a Module as it is."""

from __future__ import annotations

from typing import Any

from talweg.base.errors import DeviceError
from talweg.nn.module import Module


class DataParallel(Module):
    """Calls a Module on all devices; there is one, so it calls `module`.

    Args:
        module: found again as `.module`, and in the names of the state_dict ("module.weight").
        device_ids, output_device: None or empty, as there is no other device.
        dim: the dimension that would be divided.

    >>> tw.nn.DataParallel(tw.nn.Linear(2, 3))(tw.ones(4, 2)).shape
    (4, 3)

    Raises:
        DeviceError: when devices are named.
    """

    module: Module

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        if device_ids or output_device is not None:
            raise DeviceError("DataParallel: no GPU is available; leave device_ids out")
        self.dim = dim
        self.device_ids: list[int] = []
        self.module = module

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Any = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:
    """Call a Module on its inputs, a tuple or one value, as `DataParallel` does."""
    whole = DataParallel(module, device_ids, output_device, dim)
    listed = inputs if isinstance(inputs, tuple) else (inputs,)
    return whole(*listed, **(module_kwargs or {}))


class DistributedDataParallel(Module):
    """Trains one Module in several processes.

    Raises:
        DeviceError: always, so far: there is no process group.
    """

    def __init__(self, module: Module, *args: Any, **options: Any) -> None:
        super().__init__()
        raise DeviceError("DistributedDataParallel: programs run in one process so far")
