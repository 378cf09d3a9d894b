"""`torch.special` beside PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from peer import Case, Inputs, close, compare, parameters, torch

import talweg as tw

pytestmark = pytest.mark.peer
D = Inputs(36)
X = np.array([-12.3, -7.7, -3.1, -0.9, -1e-3, 0.2, 0.7, 2.2, 5.5, 7.9, 8.3, 14.0, 31.0])

CASES = [
    *(
        Case(f"{n} {d}", lambda T, x, n=n: getattr(T.special, n)(x), (X.astype(d),), slack=4000)
        for n in ("ndtr", "log_ndtr", "i0", "i0e", "i1", "i1e", "expit", "psi", "gammaln", "sinc")
        for d in ("float32", "float64")
        if n not in ("psi", "gammaln") or d == "float64"
    ),
    Case("erfcx", lambda T, x: T.special.erfcx(x), (X[2:],), slack=1e4),
    Case("ndtri", lambda T, x: T.special.ndtri(x), (D.probability(9),), slack=8),
    Case("entr", lambda T, x: T.special.entr(x), (D.positive(9),), slack=8),
    Case("xlog1py", lambda T, x, y: T.special.xlog1py(x, y), (D.real(9), D.positive(9)), slack=8),
    Case("xlog1py number", lambda T, y: T.special.xlog1py(2.0, y), (D.positive(9),), slack=8),
    Case("multigammaln", lambda T, x: T.special.multigammaln(x, 3), (D.positive(9) + 1,), slack=50),
    Case("softmax", lambda T, x: T.special.softmax(x, 1), (D.real(3, 4),), slack=8),
    Case("log_softmax", lambda T, x: T.special.log_softmax(x, 1), (D.real(3, 4),), slack=8),
    Case("polygamma", lambda T, x: T.special.polygamma(1, x), (D.positive(9),), slack=50),
    Case("i0 of integers", lambda T, x: T.special.i0(x), (np.arange(4),), gradient=False),
]


@pytest.mark.parametrize("case", parameters(CASES))
def test_special(case: Case) -> None:
    compare(case)


@pytest.mark.parametrize("name", ["ndtr", "ndtri", "log_ndtr", "entr", "i0", "i0e", "i1", "i1e"])
def test_ends_and_undefined_values(name: str) -> None:
    x = np.array([0.0, 1.0, -1.0, np.inf, np.nan, 600.0])
    ours, theirs = (getattr(T.special, name)(T.tensor(x)) for T in (tw, torch))
    keep = [i for i, v in enumerate(x) if not (np.isinf(v) and name.startswith("i"))]
    close(ours[keep], theirs[keep], 100, name)
