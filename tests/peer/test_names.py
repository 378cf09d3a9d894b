"""The note that lists PyTorch's names that are not there is right."""

from __future__ import annotations

from pathlib import Path

import pytest
from peer import torch

import talweg.frontends.torch as frontend
from tests.peer.names import missing, read

pytestmark = pytest.mark.peer
NOTE = Path(__file__).parents[2] / "docs" / "notes" / "017-names-not-there.md"


@pytest.mark.filterwarnings("ignore")
def test_the_note_lists_what_is_not_there() -> None:
    listed = read(NOTE.read_text(encoding="utf-8"))
    assert listed == missing(torch, frontend), "`python -m tests.peer.names` prints the list anew"
