"""Linear algebra on batches of matrices, with the names of `torch.linalg`.

>>> import talweg as tw
>>> a = tw.tensor([[4.0, 2.0], [2.0, 5.0]])
>>> tw.linalg.solve(a, tw.tensor([2.0, 1.0])).tolist()
[0.5, 0.0]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from talweg.base.errors import LinAlgError
from talweg.engine.functions import METHODS
from talweg.engine.record import lift
from talweg.engine.tensor import Tensor
from talweg.fn import matrix_factors, matrix_systems

_FUNCTIONS = {f.__name__: lift(f) for f in (*matrix_systems.LINALG, *matrix_factors.LINALG)}
globals().update(_FUNCTIONS)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Return a view of a diagonal of two dimensions, as the last dimension of the result.

    >>> import talweg as tw
    >>> tw.linalg.diagonal(tw.ones(3, 2, 2)).shape
    (3, 2)
    """
    found: Tensor = METHODS["diagonal"](A, offset, dim1, dim2)
    return found


if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


__all__ = ["LinAlgError", "diagonal", *_FUNCTIONS]  # noqa: PLE0604
