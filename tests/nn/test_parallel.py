"""A Module over all devices, of which there is one."""

from __future__ import annotations

import pytest

import talweg as tw
from talweg import nn
from talweg.nn.parallel import DistributedDataParallel, data_parallel


def test_data_parallel_calls_its_module() -> None:
    layer, x = nn.Linear(3, 2), tw.rand(4, 3)
    whole = nn.DataParallel(layer)
    assert tw.equal(whole(x), layer(x))
    assert tw.equal(data_parallel(layer, (x,)), layer(x))
    assert list(whole.state_dict()) == ["module.weight", "module.bias"]
    whole(x).sum().backward()
    assert layer.weight.grad is not None


def test_devices_that_are_not_there() -> None:
    with pytest.raises(tw.TalwegError, match="device_ids"):
        nn.DataParallel(nn.Linear(1, 1), device_ids=[0, 1])
    with pytest.raises(tw.TalwegError, match="one process"):
        DistributedDataParallel(nn.Linear(1, 1))
