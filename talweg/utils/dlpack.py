"""The names of `torch.utils.dlpack`."""

from __future__ import annotations

from typing import Any

from talweg.engine.interchange import dlpack, from_dlpack
from talweg.engine.tensor import Tensor

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Tensor) -> Any:
    """Return a DLPack capsule with a copy of the values, for consumers of capsules themselves.

    Who takes objects is given the Tensor, whose memory is then shared: `np.from_dlpack(x)`.

    Raises:
        BufferError: for a Tensor that requires gradients.

    >>> tw.from_dlpack(tw.utils.dlpack.to_dlpack(tw.ones(2)))
    tensor([1., 1.])
    """
    return dlpack(tensor)
