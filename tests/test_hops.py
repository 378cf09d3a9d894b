"""The road is short: Python calls inside talweg for recording and differentiating an expression."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import talweg as tw

PACKAGE = str(Path(tw.__file__).parent)


def calls(function: Callable[[], object]) -> list[str]:
    """Return the names of the talweg functions entered while `function` runs."""
    entered: list[str] = []

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            entered.append(frame.f_code.co_name)

    sys.setprofile(watch)
    try:
        function()
    finally:
        sys.setprofile(None)
    return entered


@pytest.fixture(autouse=True)
def _learned() -> None:
    """Operations are learned when they first meet operands of these types; gradients, the second
    time."""
    for _ in range(2):
        tw.ones(4, 4, requires_grad=True).relu().sum().backward()


def test_recording_an_expression_takes_at_most_60_calls() -> None:
    x = tw.ones(4, 4, requires_grad=True)
    entered = calls(lambda: x.relu().sum())
    assert "record_sole" in entered, "the watch saw the recording"
    assert len(entered) <= 60, entered


def test_its_backward_takes_at_most_120_calls() -> None:
    x = tw.ones(4, 4, requires_grad=True)
    loss = x.relu().sum()
    entered = calls(loss.backward)
    assert x.grad is not None
    assert len(entered) <= 120, entered


def test_learning_an_expression_takes_at_most_120_calls() -> None:
    x = tw.ones(4, 4711, requires_grad=True)
    entered = calls(lambda: x.relu().sum())
    assert "apply" in entered, "the watch saw the Builder"
    assert len(entered) <= 120, entered
