"""A batch normalisation folded into the layer before it, for evaluation."""

from __future__ import annotations

from copy import deepcopy

from talweg.base.errors import InvalidValue
from talweg.engine.modes import no_grad
from talweg.engine.tensor import Tensor
from talweg.nn.module import Module
from talweg.nn.parameter import Parameter

Pair = tuple[Parameter, Parameter]


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> Pair:
    """Return weight and bias of a convolution that does what a batch norm did behind it.

    Args:
        conv_w, conv_b: of the convolution; the bias may be None.
        bn_rm, bn_rv, bn_eps: running mean and variance, and what is added to it.
        bn_w, bn_b: scale and shift, or None.
        transpose: for transposed convolutions.
    """
    with no_grad():
        scale = (bn_rv + bn_eps).rsqrt() * (1 if bn_w is None else bn_w)
        shape = [1] * conv_w.ndim
        shape[1 if transpose else 0] = -1
        shift = -bn_rm * scale if conv_b is None else (conv_b - bn_rm) * scale
        weight = conv_w * scale.reshape(shape)
        bias = shift if bn_b is None else shift + bn_b
        grad = conv_w.requires_grad
        return Parameter(weight.to(conv_w.dtype), grad), Parameter(bias.to(conv_w.dtype), grad)


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> Pair:
    """Return weight and bias of a Linear layer that does what a batch norm did behind it."""
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def _fused(layer: Module, bn: Module, transpose: bool) -> Module:
    if layer.training or bn.training:
        raise InvalidValue("fusion only for eval: call eval() on both layers first")
    if bn.running_mean is None or bn.running_var is None:
        raise InvalidValue("the batch norm has no running statistics")
    made = deepcopy(layer)
    how = (bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose)
    made.weight, made.bias = fuse_conv_bn_weights(layer.weight, layer.bias, *how)
    return made


def fuse_conv_bn_eval(conv: Module, bn: Module, transpose: bool = False) -> Module:
    """Return a convolution that does what two layers do in evaluation.

    Args:
        conv: the convolution, in evaluation mode.
        bn: the batch norm behind it, in evaluation mode.
        transpose: for transposed convolutions without groups.

    Raises:
        InvalidValue: when one of them is in training mode.

    Example:
        >>> import talweg as tw
        >>> conv, bn = tw.nn.Conv2d(3, 4, 3).eval(), tw.nn.BatchNorm2d(4).eval()
        >>> x = tw.ones(1, 3, 5, 5)
        >>> tw.allclose(tw.nn.utils.fuse_conv_bn_eval(conv, bn)(x), bn(conv(x)), atol=1e-5)
        True
    """
    return _fused(conv, bn, transpose)


def fuse_linear_bn_eval(linear: Module, bn: Module) -> Module:
    """Return a Linear layer that does what it and a batch norm behind it do in evaluation.

    Raises:
        InvalidValue: when one of them is in training mode, or sizes differ.
    """
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise InvalidValue(
            f"a batch norm of {bn.num_features} features does not fit {linear.out_features} outputs"
        )
    return _fused(linear, bn, False)
