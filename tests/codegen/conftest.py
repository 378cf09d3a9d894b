"""Machine code in tests is verified by LLVM."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from talweg.codegen import cpu


@pytest.fixture(autouse=True, scope="session")
def verified() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "checked", lambda: True)
        yield
