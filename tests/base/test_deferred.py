"""A deferred module is imported when something of it is used, and not before."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from talweg.base.deferred import deferred


def test_a_module_is_imported_when_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "seldom_used.py").write_text("limit = 3\ndef get():\n    return limit\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = deferred("seldom_used")
    assert "seldom_used" not in sys.modules
    assert module.__name__ == "seldom_used"
    assert module.get() == 3
    assert "get" in dir(module)
    sys.modules.pop("seldom_used").limit = 4
    assert module.limit == 3, "what is imported is not kept here"
    sys.modules["seldom_used"].limit = 5
    assert (module.limit, module.get()) == (5, 5), "names stand for what the module holds now"
    with pytest.raises(AttributeError, match="'seldom_used' has no attribute 'put'"):
        module.put  # noqa: B018
    del sys.modules["seldom_used"]


def test_a_missing_module_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        deferred("no_such_module").anything  # noqa: B018
