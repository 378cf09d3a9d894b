"""Special functions, with the names of `torch.special`.

>>> import talweg as tw
>>> tw.special.expit(tw.tensor(0.0)).item()
0.5
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from talweg.engine.functions import FUNCTIONS
from talweg.engine.record import lift
from talweg.fn import specials
from talweg.nn import functional as F

_OWN = {f.__name__: lift(f) for f in specials.SPECIAL}
_SAME = (
    *("digamma", "erf", "erfc", "erfinv", "exp2", "expm1", "log1p", "logit", "logsumexp"),
    *("polygamma", "round", "sinc", "xlogy"),
)
_ALSO = {
    "expit": "sigmoid",
    "gammainc": "igamma",
    "gammaincc": "igammac",
    "gammaln": "lgamma",
    "psi": "digamma",
}

globals().update({name: FUNCTIONS[name] for name in _SAME})
globals().update({name: FUNCTIONS[other] for name, other in _ALSO.items()})
globals().update(_OWN)
softmax = F.softmax
log_softmax = F.log_softmax

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


__all__ = ["log_softmax", "softmax", *_ALSO, *_OWN, *_SAME]  # noqa: PLE0604
