"""What recording needs to know, per thread: the Builder, the gradient mode, what waits."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, final

from talweg.autodiff.reverse import vjp_of
from talweg.base import config
from talweg.ir.trace import Trace
from talweg.ops import OpBuilder

if TYPE_CHECKING:
    from talweg.base.dtypes import DType
    from talweg.engine.tensor import Storage, Tensor
    from talweg.ir.node import Node

CONFIG = config.read()
PENDING_BYTES = CONFIG.pending_bytes


class Capturing(Protocol):
    """Who watches a function run, to do the same again without running it; see `talweg.capture`."""

    waiting: bool
    graded: bool

    def observed(self, what: str) -> None:
        """Be told that Python looks at data, which may be other data next time: give up."""

    def drawn(self, generator: Any, key: int, offset: int) -> tuple[Any, Any]:
        """Return key and counter of random numbers in a form that a replay can find again."""


@final
class Recording:
    """The recording state of one thread.

    Attributes:
        builder: makes the Nodes of this thread.
        trace: lists them.
        cast: the lower dtype of the region of autocast, or None outside.
        casts: parameters that were cast in it; None where that is not kept.
        grad: operations on tensors that require gradients are recorded on the tape.
        anomaly: backward passes are watched for NaN.
        inference: `inference_mode` is on; it is `no_grad` under another name.
        capture: who captures what runs now, or None. Then nothing is evaluated.
        later: while something is computed again for gradients, one that was known before it.
        pending: the Tensors made since the last barrier. Those that nobody else references are
            dead; a barrier evaluates the others.
        repeated: a function is called for one example, and for others afterwards: gradients keep
            what they read, for another pass.
        steady: what comes for the first time is compiled; see `modes.steady`.
        renewed: Tensors that got another value since then.
        written: the storages written to in place since then.
        limit: how many Nodes may wait; a barrier sets it anew.
        nbytes: size of the pending Tensors.
    """

    __slots__ = (
        *("anomaly", "builder", "capture", "cast", "casts", "grad", "inference", "later"),
        *("limit", "nbytes", "pending", "renewed", "repeated", "steady", "trace", "written"),
    )

    def __init__(self) -> None:
        self.trace = Trace()
        self.builder = OpBuilder(self.trace)
        self.builder.vjp_of = partial(vjp_of, self.builder)
        self.capture: Capturing | None = None
        self.cast: DType | None = None
        self.casts: dict[Any, Any] | None = None
        self.grad = True
        self.anomaly = False
        self.inference = False
        self.later: Node | None = None
        self.steady = False
        self.pending: list[Tensor] = []
        self.renewed: dict[Tensor, None] = {}
        self.written: dict[Storage, None] = {}
        self.repeated = False
        self.limit = 0 if CONFIG.sync else CONFIG.pending
        self.nbytes = 0


class State(threading.local):
    """The recording state of the running thread, as `now`; its parts are attributes too."""

    def __init__(self) -> None:
        self.now = Recording()

    @property
    def builder(self) -> OpBuilder:
        """Makes the Nodes of this thread."""
        return self.now.builder

    @property
    def grad(self) -> bool:
        """Whether operations are recorded on the tape."""
        return self.now.grad

    @grad.setter
    def grad(self, value: bool) -> None:
        self.now.grad = value

    @property
    def anomaly(self) -> bool:
        """Whether backward passes are watched for NaN."""
        return self.now.anomaly

    @anomaly.setter
    def anomaly(self, value: bool) -> None:
        self.now.anomaly = value

    @property
    def inference(self) -> bool:
        """Whether `inference_mode` is on."""
        return self.now.inference

    @inference.setter
    def inference(self, value: bool) -> None:
        self.now.inference = value


STATE = State()
