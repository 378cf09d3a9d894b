"""Gradients watched for NaN, step by step: `detect_anomaly`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import GradientError
from talweg.base.source import describe
from talweg.engine.barrier import evaluate
from talweg.engine.state import STATE
from talweg.engine.tape import GradFn
from talweg.ir.node import Node


class set_detect_anomaly:
    """Switch `detect_anomaly` on or off, at once; as a context, back again at its end.

    Args:
        mode: on or off.
        check_nan: with False, nothing is watched.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = STATE.anomaly
        STATE.anomaly = bool(mode and check_nan)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        STATE.anomaly = self._before


@contextmanager
def detect_anomaly(check_nan: bool = True) -> Iterator[None]:
    """Raise where a backward pass first makes a NaN, naming the line that recorded the step.

    Every step is computed and looked at on its own, which is slow: for finding a fault.

    Args:
        check_nan: with False, nothing is watched.

    Raises:
        GradientError: inside, from `backward()` and `grad()`.

    Example:
        >>> import talweg as tw
        >>> x = tw.zeros(2, requires_grad=True)
        >>> with tw.autograd.detect_anomaly():
        ...     try:
        ...         (x.sqrt() * 0).sum().backward()
        ...     except RuntimeError as error:
        ...         print(str(error).splitlines()[0])
        Function 'SqrtBackward0' returned nan values in its 0th output
    """
    with set_detect_anomaly(True, check_nan):
        yield


def is_anomaly_enabled() -> bool:
    """Return whether backward passes of this thread are watched for NaN."""
    return STATE.anomaly


def refuse_nan(step: GradFn, cotangents: Sequence[Node | None]) -> None:
    """Compute what a step of a backward pass gave, and raise GradientError for the first NaN."""
    evaluate([c for c in cotangents if c is not None])
    for i, c in enumerate(cotangents):
        if c is not None and c.array is not None:
            if bool(np.isnan(dtypes.decode(c.array, c.dtype)).any()):
                raise GradientError(
                    f"Function '{step.name()}' returned nan values in its {i}th output"
                    f"\n  recorded at {describe(step.source)}"
                )
