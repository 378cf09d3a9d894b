"""What cannot hold while `TALWEG_CHECK=1` has every kernel run beside its reference."""

from __future__ import annotations

import pytest

from talweg.engine.state import CONFIG

unchecked = pytest.mark.skipif(
    CONFIG.check, reason="the references run too: on memory of their own, and never in place"
)
