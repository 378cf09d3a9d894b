"""What recording needs to know, per thread: the Builder, the gradient mode, what waits."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import ref

from talweg.base import config
from talweg.ops import OpBuilder

if TYPE_CHECKING:
    from talweg.engine.tensor import Tensor

CONFIG = config.read()
PENDING_BYTES = 1 << 29


class State(threading.local):
    """Per-thread recording state.

    Attributes:
        builder: makes the Nodes of this thread.
        grad: operations on tensors that require gradients are recorded on the tape.
        anomaly: backward passes are watched for NaN.
        inference: `inference_mode` is on; it is `no_grad` under another name.
        pending: the Tensors made since the last barrier; a barrier evaluates those still alive.
    """

    def __init__(self) -> None:
        self.builder = OpBuilder()
        self.grad = True
        self.anomaly = False
        self.inference = False
        self.pending: list[ref[Tensor]] = []


STATE = State()
