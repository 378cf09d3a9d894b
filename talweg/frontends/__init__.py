"""Other libraries' programs on talweg: one package for each library."""

from __future__ import annotations
