"""Real data, which the repository does not hold: tests that read it are skipped where it is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def real(*parts: str) -> Path:
    """Return a file of the folder that TALWEG_TEST_DATA names, else of `shared/data` beside here.

    Args:
        parts: of its path.
    """
    folder = Path(os.environ.get("TALWEG_TEST_DATA") or ROOT.parent / "shared" / "data")
    path = folder.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"there is no {'/'.join(parts)} in {folder}; TALWEG_TEST_DATA names the folder")
    return path
