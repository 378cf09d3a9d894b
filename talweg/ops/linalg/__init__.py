"""Ops that LAPACK computes: inverses, systems of equations, factors of matrices."""

from __future__ import annotations

from talweg.ir.op import Op
from talweg.ops.linalg import factors, spectra, symmetric, systems

OPS: tuple[type[Op], ...] = (*systems.OPS, *factors.OPS, *spectra.OPS, *symmetric.OPS)
