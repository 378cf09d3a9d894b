"""Settings from the environment and the machine."""

from __future__ import annotations

import os

import pytest

from talweg.base import config
from talweg.base.errors import InvalidValue


@pytest.mark.parametrize(("gigabytes", "expected"), [(2, (2 << 30) // 3), (64, 1 << 33)])
def test_what_may_wait_follows_the_memory(
    monkeypatch: pytest.MonkeyPatch, gigabytes: int, expected: int
) -> None:
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": gigabytes << 18}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__, raising=False)
    assert config.read().pending_bytes == expected


def test_systems_without_such_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert 0 < config.read().pending_bytes <= 1 << 33


@pytest.mark.parametrize(
    ("name", "text"), [("TALWEG_NUM_THREADS", "two"), ("TALWEG_COMPILE", "maybe")]
)
def test_what_is_not_understood_is_said(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(InvalidValue, match=f"{name}='{text}'"):
        config.read()
