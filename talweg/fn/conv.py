"""Convolution and transposed convolution along one, two and three axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.shapes import Shape
from talweg.fn.promotion import one_dtype
from talweg.fn.spatial import like_batch, per_axis, with_batch
from talweg.ir.build import Builder
from talweg.ir.node import Node

Sizes = int | Sequence[int]


def conv1d(
    b: Builder,
    x: Node,
    weight: Node,
    bias: Node | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Node:
    """Cross-correlate along one axis; see `conv2d`.

    Args:
        x: [N, C, L] or [C, L].
        weight: [O, C / groups, K].
        bias: [O].

    >>> import talweg as tw
    >>> x, weight = tw.tensor([[[1., 2., 3., 4.]]]), tw.tensor([[[1., -1.]]])
    >>> tw.conv1d(x, weight).tolist()
    [[[-1.0, -1.0, -1.0]]]
    """
    return _conv(b, "conv1d", 1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(
    b: Builder,
    x: Node,
    weight: Node,
    bias: Node | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Node:
    """Cross-correlate images with kernels, plus a bias per output channel.

    Args:
        x: [N, C, H, W] or [C, H, W].
        weight: [O, C / groups, KH, KW], of the dtype of x.
        bias: [O] or None.
        stride: step of the kernel, one int or one per axis.
        padding: zeros on both sides of each axis; "valid" is 0, and "same" keeps the sizes (the
            odd zero goes behind, stride must be 1).
        dilation: distance between kernel elements.
        groups: channels are cut into this many parts that do not see each other.

    Returns:
        [N, O, OH, OW] with OH = floor((H + 2 * padding - dilation * (KH - 1) - 1) / stride) + 1.

    Raises:
        ShapeError: when shapes do not fit; the message names them.
        DTypeError: when the dtypes differ.

    >>> import talweg as tw
    >>> tw.conv2d(tw.ones(1, 1, 3, 3), tw.ones(2, 1, 2, 2), padding="same").shape
    (1, 2, 3, 3)
    """
    return _conv(b, "conv2d", 2, x, weight, bias, stride, padding, dilation, groups)


def conv3d(
    b: Builder,
    x: Node,
    weight: Node,
    bias: Node | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Node:
    """Cross-correlate along three axes; see `conv2d`.

    Args:
        x: [N, C, D, H, W] or [C, D, H, W].
        weight: [O, C / groups, KD, KH, KW].
        bias: [O].
    """
    return _conv(b, "conv3d", 3, x, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    b: Builder,
    x: Node,
    weight: Node,
    bias: Node | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Node:
    """The adjoint of `conv1d`; see `conv_transpose2d`.

    Args:
        x: [N, C, L] or [C, L].
        weight: [C, O / groups, K].
        bias: [O].
    """
    return _conv_transpose(
        b, "conv_transpose1d", 1, x, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose2d(
    b: Builder,
    x: Node,
    weight: Node,
    bias: Node | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Node:
    """Spread every element of x over the kernel: the adjoint of `conv2d` in its input.

    Args:
        x: [N, C, H, W] or [C, H, W].
        weight: [C, O / groups, KH, KW].
        bias: [O] or None.
        stride, padding, dilation, groups: those of the convolution whose adjoint this is.
        output_padding: rows and columns added behind; smaller than stride or dilation.

    Returns:
        [N, O, OH, OW] with
        OH = (H - 1) * stride - 2 * padding + dilation * (KH - 1) + output_padding + 1.

    Raises:
        ShapeError: when shapes do not fit; the message names them.
        DTypeError: when the dtypes differ.

    >>> import talweg as tw
    >>> tw.conv_transpose2d(tw.ones(1, 1, 2, 2), tw.ones(1, 1, 2, 2), stride=2).shape
    (1, 1, 4, 4)
    """
    return _conv_transpose(
        b, "conv_transpose2d", 2, x, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose3d(
    b: Builder,
    x: Node,
    weight: Node,
    bias: Node | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Node:
    """The adjoint of `conv3d`; see `conv_transpose2d`.

    Args:
        x: [N, C, D, H, W] or [C, D, H, W].
        weight: [C, O / groups, KD, KH, KW].
        bias: [O].
    """
    return _conv_transpose(
        b, "conv_transpose3d", 3, x, weight, bias, stride, padding, output_padding, groups, dilation
    )


def _conv(
    b: Builder,
    name: str,
    axes: int,
    x: Node,
    weight: Node,
    bias: Node | None,
    stride: Sizes,
    padding: Sizes | str,
    dilation: Sizes,
    groups: int,
) -> Node:
    batch = with_batch(b, name, x, axes)
    _check_operands(name, axes, batch, weight, bias, groups)
    strides = per_axis(name, "stride", stride, axes, 1)
    dilations = per_axis(name, "dilation", dilation, axes, 1)
    pads = _both_sides(name, padding, weight.shape[2:], strides, dilations)
    _check_channels(name, x, weight, groups)
    rows = zip(batch.shape[2:], weight.shape[2:], pads, dilations, strict=True)
    if any(n + low + high < step * (k - 1) + 1 for n, k, (low, high), step in rows):
        raise ShapeError(
            f"{name}: kernel {weight.shape[2:]} with dilation {dilations} is larger than the "
            f"input {x.shape} with padding {pads}"
        )
    dilations, groups = _plain(weight, dilations, groups, batch.shape[1])
    y = b.conv(batch, weight, strides, pads, dilations, groups)
    return like_batch(b, _with_bias(b, y, bias), x)


def _check_channels(name: str, x: Node, weight: Node, groups: int) -> None:
    if weight.shape[0] % groups:
        raise ShapeError(
            f"{name}: the {weight.shape[0]} output channels of a weight of shape {weight.shape} "
            f"must be divisible by groups={groups}"
        )
    axes, taken = weight.rank - 2, weight.shape[1] * groups
    given = x.shape[-axes - 1]
    if given == taken:
        return
    remedy = ""
    if x.shape[-1] == taken and x.rank == axes + 2:
        order = ", ".join(str(a) for a in (0, axes + 1, *range(1, axes + 1)))
        remedy = f"; if channels stand last, use .permute({order})"
    elif taken == 1 and x.rank == axes + 1:
        remedy = "; if this is a batch of images without channels, use .unsqueeze(1)"
    raise ShapeError(
        f"{name}: the input of shape {x.shape} has {given} channels, but a weight of shape "
        f"{weight.shape} with groups={groups} takes {taken}{remedy}"
    )


def _plain(
    weight: Node, dilations: tuple[int, ...], groups: int, channels: int
) -> tuple[tuple[int, ...], int]:
    """Dilations and groups as the ops have them, of a kernel on so many channels.

    0 says that there is one element along an axis, or one channel in every group.
    """
    kernel = weight.shape[2:]
    dilations = tuple(d if k > 1 else 0 for d, k in zip(dilations, kernel, strict=True))
    single = groups > 1 and groups == channels == weight.shape[0] and any(dilations)
    return dilations, 0 if single else groups


def _conv_transpose(
    b: Builder,
    name: str,
    axes: int,
    x: Node,
    weight: Node,
    bias: Node | None,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    groups: int,
    dilation: Sizes,
) -> Node:
    batch = with_batch(b, name, x, axes)
    strides = per_axis(name, "stride", stride, axes, 1)
    dilations = per_axis(name, "dilation", dilation, axes, 1)
    cuts = per_axis(name, "padding", padding, axes, 0)
    extra = per_axis(name, "output_padding", output_padding, axes, 0)
    _check_operands(name, axes, batch, weight, bias, groups, transposed=True)
    if batch.shape[1] != weight.shape[0] or weight.shape[0] % groups:
        raise ShapeError(
            f"{name}: weight of shape {weight.shape} expects an input of {weight.shape[0]} "
            f"channels, divisible by groups={groups}, but the input has shape {x.shape}"
        )
    sizes, pads, behind = [], [], []
    rows = zip(batch.shape[2:], weight.shape[2:], strides, dilations, cuts, extra, strict=True)
    for n, k, s, d, p, e in rows:
        if e >= max(s, d):
            raise InvalidValue(
                f"{name}: output_padding {extra} must be smaller than stride {strides} or "
                f"dilation {dilations}"
            )
        # Places behind the last spread kernel element are zeros of no window.
        zeros = e - p if e - p >= s else 0
        sizes.append((n - 1) * s - 2 * p + d * (k - 1) + e + 1 - zeros)
        pads.append((p, max(p - e, 0)))
        behind.append(zeros)
    if min(sizes) < 1:
        raise ShapeError(
            f"{name}: input {x.shape} with weight {weight.shape} and padding {cuts} gives no "
            f"output: its sizes would be {tuple(sizes)}"
        )
    dilations, groups = _plain(weight, dilations, groups, weight.shape[1] * groups)
    y = b.conv_input_grad(batch, weight, strides, tuple(pads), dilations, groups, tuple(sizes))
    if any(behind):
        none = (0,) * y.rank
        y = b.pad(y, b.scalar(0, y.dtype), none, (0, 0, *behind), none)
    return like_batch(b, _with_bias(b, y, bias), x)


def _both_sides(
    name: str, padding: Sizes | str, kernel: Shape, strides: Shape, dilations: Shape
) -> tuple[tuple[int, int], ...]:
    if isinstance(padding, str):
        if padding == "valid":
            return ((0, 0),) * len(kernel)
        if padding != "same":
            raise InvalidValue(f"{name}: padding {padding!r} must be 'same', 'valid' or ints")
        if any(s != 1 for s in strides):
            raise InvalidValue(f"{name}: padding='same' needs stride 1, got {strides}")
        totals = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
        return tuple((n // 2, n - n // 2) for n in totals)
    return tuple((p, p) for p in per_axis(name, "padding", padding, len(kernel), 0))


def _check_operands(
    name: str,
    axes: int,
    x: Node,
    weight: Node,
    bias: Node | None,
    groups: int,
    transposed: bool = False,
) -> None:
    if weight.rank != axes + 2 or min(weight.shape) < 1:
        raise ShapeError(
            f"{name}: weight must have {axes + 2} dimensions of at least 1 element, got shape "
            f"{weight.shape}"
        )
    if groups < 1:
        raise InvalidValue(f"{name}: groups must be at least 1, got {groups}")
    if x.dtype is not weight.dtype or (bias is not None and bias.dtype is not x.dtype):
        others = weight.dtype.name + (f" and bias {bias.dtype.name}" if bias is not None else "")
        given = (weight.dtype,) if bias is None else (weight.dtype, bias.dtype)
        raise DTypeError(
            f"{name}: input {x.dtype.name}, weight {others} must have one dtype; "
            f"{one_dtype(x.dtype, *given)}"
        )
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    if bias is not None and bias.shape != (channels,):
        raise ShapeError(
            f"{name}: bias must have shape {(channels,)} for weight {weight.shape}, got "
            f"{bias.shape}"
        )


def _with_bias(b: Builder, y: Node, bias: Node | None) -> Node:
    if bias is None:
        return y
    column = b.reshape(bias, (*bias.shape, *(1,) * (y.rank - 2)))
    return b.add(y, b.expand(column, y.shape))


PUBLIC: tuple[Callable[..., Node], ...] = (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
METHODS: tuple[str, ...] = ()
