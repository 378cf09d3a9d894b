"""Batch normalisation over the batches of several processes, which is one process here."""

from __future__ import annotations

from typing import Any

from talweg.base.dtypes import DType
from talweg.base.errors import ShapeError
from talweg.engine.tensor import Tensor
from talweg.nn.module import Module
from talweg.nn.normalization import _BatchNorm


class SyncBatchNorm(_BatchNorm):
    """`BatchNorm` of any number of axes, over the batches of all processes.

    talweg trains in one process, so the statistics are those of its batch.

    Args:
        process_group: accepted.

    Shape: [N, C, *], kept.

    Example:
        >>> import talweg as tw
        >>> net = tw.nn.Sequential(tw.nn.Conv2d(1, 2, 3), tw.nn.BatchNorm2d(2))
        >>> type(tw.nn.SyncBatchNorm.convert_sync_batchnorm(net)[1]).__name__
        'SyncBatchNorm'
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: object = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        how = (eps, momentum, affine, track_running_stats, device, dtype)
        super().__init__(num_features, *how, bias=bias)
        self.process_group = process_group

    def _check(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ShapeError(f"expected at least 2D input (got {input.ndim}D input)")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """Return the Module with every batch norm inside replaced by one of these.

        Parameters and statistics are taken over as they are.

        Args:
            module: a network, changed; or a batch norm, which is returned converted.
            process_group: accepted.
        """
        made: Module = module
        if isinstance(module, _BatchNorm):
            how = (module.eps, module.momentum, module.affine, module.track_running_stats)
            made = cls(module.num_features, *how, process_group, bias=module.bias is not None)
            for table in ("_parameters", "_buffers"):
                made.__dict__[table].update(module.__dict__[table])
            made.training = module.training
        for name, child in module.named_children():
            made.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return made
