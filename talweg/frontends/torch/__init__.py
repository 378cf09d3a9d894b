"""PyTorch's module paths: `import talweg.frontends.torch as torch`.

talweg has PyTorch's names; here they stand where PyTorch's programs look for them, beside those
that only older versions had. `talweg run program.py` runs a program that says `import torch`.
"""

from __future__ import annotations

from talweg.base.facade import build
from talweg.frontends.torch import (
    compressed,
    control,
    copies,
    datapipes,
    devices,
    factors,
    legacy,
    places,
    programs,
    pytree,
    renamed,
    samples,
    saving,
    settings,
    tensors,
    timing,
    trees,
    utilities,
)

__version__ = programs.VERSION

build(
    __name__,
    trees.TREE,
    *(
        part.MODULES
        for part in (
            *(legacy, devices, places, compressed, programs, pytree, saving, settings, timing),
            *(utilities, datapipes, copies, samples, factors, control, renamed, tensors),
        )
    ),
)
