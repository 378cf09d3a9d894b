"""Peer tests need PyTorch; the folder is importable so that its tests share `peer.py`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
