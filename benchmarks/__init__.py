"""Workloads that talweg and its peers run side by side: see `benchmarks/README.md`."""

from __future__ import annotations
