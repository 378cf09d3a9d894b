"""Mixed precision: in a region, functions compute in the dtype that suits each of them.

Contractions take bfloat16 or float16, of which twice as many fit into memory and registers;
losses, long products and factorizations take float32. All others compute in the dtype of what they
are given. The lists are those of PyTorch's autocast for the CPU.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from talweg.base.dtypes import DType, bfloat16, float16, float32
from talweg.base.errors import InvalidValue
from talweg.base.source import warn
from talweg.engine.modes import _Decorator
from talweg.engine.state import STATE
from talweg.engine.tensor import Storage, Tensor

_F = TypeVar("_F", bound=Callable[..., Any])
Cast = Callable[[Tensor, DType], Tensor]
Kept = tuple[Tensor, Storage, int, Tensor]

LOWER = frozenset(
    (
        *("addbmm", "addmm", "affine_grid", "baddbmm", "bmm", "chain_matmul", "conv1d", "conv2d"),
        *("conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
        *("corrcoef", "cov", "einsum", "inner", "linear", "matmul", "matrix_power", "mm"),
        *("multi_dot", "multi_head_attention", "prelu", "recurrent_cell", "recurrent_layer"),
        *("scaled_dot_product_attention", "tensordot", "vecdot"),
    )
)
FULL = frozenset(
    (
        *("adaptive_avg_pool3d", "adaptive_max_pool3d", "avg_pool3d", "binary_cross_entropy"),
        *("binary_cross_entropy_with_logits", "cdist", "cholesky", "cholesky_ex"),
        *("cholesky_inverse", "cholesky_solve", "cond", "cosine_embedding_loss", "cross_entropy"),
        *("ctc_loss", "eig", "eigh", "eigvals", "eigvalsh", "fft", "fft2", "fftn", "geqrf"),
        *("fractional_max_pool2d", "fractional_max_pool3d", "grid_sample", "hfft", "hfft2"),
        *("hfftn", "hinge_embedding_loss", "householder_product", "huber_loss", "ifft", "ifft2"),
        *("ifftn", "ihfft", "ihfft2", "ihfftn", "inv", "inv_ex", "inverse", "irfft", "irfft2"),
        *("irfftn", "kl_div", "l1_loss", "linalg_lu", "lstsq", "lu", "lu_solve"),
        *("margin_ranking_loss", "matrix_rank", "max_pool3d", "mse_loss", "multi_margin_loss"),
        *("multilabel_margin_loss", "nanquantile", "nll_loss", "orgqr", "ormqr", "pinv"),
        *("pinverse", "poisson_nll_loss", "polar", "prod", "qr", "quantile", "rfft", "rfft2"),
        *("rfftn", "smooth_l1_loss", "soft_margin_loss", "solve", "stft", "svd", "svdvals"),
        *("tensorinv", "tensorsolve", "trace", "triangular_solve", "triplet_margin_loss"),
        "view_as_complex",
    )
)
WIDEST = frozenset(("cat", "index_copy", "stack"))
_FULL_MODES = ("reflect", "replicate")  # of pad
_LISTED = LOWER | FULL | WIDEST | {"pad"}

DTYPES = (bfloat16, float16)


def casting(lifted: Callable[..., Any], name: str, to: Cast) -> Callable[..., Any]:
    """Return a Tensor function that casts its operands in regions of autocast.

    Args:
        lifted: the function.
        name: of it; where that is in no list, it is returned itself.
        to: converts a Tensor.
    """
    if name not in _LISTED:
        return lifted

    def function(*args: Any, **named: Any) -> Any:
        lower = STATE.now.cast
        if lower is None:
            return lifted(*args, **named)
        wanted = _wanted(name, lower, args, named)
        if wanted is not None:
            args = tuple([_settled(a, wanted, to) for a in args])
            named = {key: _settled(a, wanted, to) for key, a in named.items()}
        return lifted(*args, **named)

    return function


def _wanted(name: str, lower: DType, args: tuple[Any, ...], named: dict[str, Any]) -> DType | None:
    """Return the dtype that a function takes; None where it takes any."""
    if name in LOWER:
        return lower
    if name in FULL:
        return float32
    if name == "pad":
        mode = named.get("mode", args[2] if len(args) > 2 else "constant")
        return float32 if mode in _FULL_MODES else None
    found = any(t.dtype is float32 for t in _tensors((args, tuple(named.values()))))
    return float32 if found else lower


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for v in value for t in _tensors(v)] if isinstance(value, list | tuple) else []


def _settled(value: Any, dtype: DType, to: Cast) -> Any:
    """Return a value with the Tensors in it cast."""
    if isinstance(value, Tensor):
        now = value.dtype
        if now is dtype or now not in (float32, bfloat16, float16):
            return value
        return _kept(value, dtype, to) if now is float32 else to(value, dtype)
    if type(value) is list or type(value) is tuple:
        return type(value)([_settled(v, dtype, to) for v in value])
    return value


def _kept(value: Tensor, dtype: DType, to: Cast) -> Tensor:
    """Return a float32 Tensor cast; a parameter, once in a region."""
    now = STATE.now
    casts = now.casts
    if casts is None or not (value.requires_grad and value.is_leaf) or value._view is not None:
        return to(value, dtype)
    storage = value._storage
    key = id(value), dtype, now.grad
    found: Kept | None = casts.get(key)
    if found is None or found[1] is not storage or found[2] != storage.version:
        found = casts[key] = value, storage, storage.version, to(value, dtype)
    return found[3]


class autocast(_Decorator):
    """A region of mixed precision; a context or a decorator.

    Contractions and convolutions compute in `dtype`, losses and factorizations in float32; all
    else in the dtype of its operands. Tensors of float64 and integers stay. Parameters are cast
    once in a region. Gradients have the dtype of what they are for; a backward pass needs no
    region.

    Args:
        device_type: "cpu". Another device switches nothing on.
        dtype: bfloat16 or float16; bfloat16 unless given.
        enabled: False computes in the dtypes given, also inside another region.
        cache_enabled: keep parameters that were cast until the outermost region ends.

    Example:
        >>> import talweg as tw
        >>> layer = tw.nn.Linear(3, 2)
        >>> with tw.autocast("cpu", dtype=tw.bfloat16):
        ...     y = layer(tw.ones(4, 3))
        ...     loss = tw.nn.functional.mse_loss(y, tw.zeros(4, 2))
        >>> y.dtype, loss.dtype
        (talweg.bfloat16, talweg.float32)

    Raises:
        InvalidValue: for a device_type that is no text.
    """

    def __init__(
        self,
        device_type: str,
        dtype: DType | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise InvalidValue(
                f"Expected `device_type` of type `str`, got: `{type(device_type).__name__}`"
            )
        self.device = device_type
        self.fast_dtype = dtype or bfloat16
        self._enabled = enabled
        self._cache_enabled = cache_enabled is None or cache_enabled
        self._stack: list[tuple[DType | None, Any]] = []
        if enabled and device_type != "cpu":
            warn(f"autocast: there is no device {device_type!r} here. Disabling autocast")
            self._enabled = False
        elif enabled and self.fast_dtype not in DTYPES:
            warn(
                "In CPU autocast, but the target dtype is not supported. Disabling autocast. CPU "
                "Autocast only supports dtype of bfloat16 and float16"
            )
            self._enabled = False

    def again(self) -> autocast:
        made = autocast("cpu", self.fast_dtype, False, self._cache_enabled)
        made.device, made._enabled = self.device, self._enabled
        return made

    def __enter__(self) -> autocast:
        now = STATE.now
        self._stack.append((now.cast, now.casts))
        if self.device == "cpu":
            now.cast = self.fast_dtype if self._enabled else None
        if not self._cache_enabled:
            now.casts = None
        elif now.casts is None:
            now.casts = {}
        return self

    def __exit__(self, *_: object) -> None:
        now = STATE.now
        now.cast, now.casts = self._stack.pop()


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Return whether this runs in a region of mixed precision.

    Args:
        device_type: there is none for others than the CPU.
    """
    return device_type in (None, "cpu") and STATE.now.cast is not None


def get_autocast_dtype(device_type: str = "cpu") -> DType:
    """Return the lower dtype of the present region, or what that of a new one would be.

    Args:
        device_type: float16 is what others than the CPU would compute in.
    """
    return (STATE.now.cast or bfloat16) if device_type == "cpu" else float16


def is_autocast_cache_enabled() -> bool:
    """Return whether parameters are cast once in a region: unless the present one says no."""
    return STATE.now.cast is None or STATE.now.casts is not None


def clear_autocast_cache() -> None:
    """Forget the parameters that were cast in the present region."""
    if STATE.now.casts is not None:
        STATE.now.casts.clear()


def is_autocast_available(device_type: str) -> bool:
    """Return whether a device has regions of mixed precision: the CPU."""
    return device_type == "cpu"


def custom_fwd(fwd: Any = None, *, device_type: str, cast_inputs: DType | None = None) -> Any:
    """Decorate `forward` of an `autograd.Function` that is called in regions of autocast.

    Args:
        fwd: the function; without it, a decorator is returned.
        device_type: "cpu".
        cast_inputs: in a region, convert floating Tensors to this dtype, and run `forward`
            outside of it. Without it, `forward` runs in the region.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx: Any, *args: Any, **named: Any) -> Any:
        ctx._dtype = get_autocast_dtype(device_type)
        ctx._fwd_used_autocast = is_autocast_enabled(device_type)
        if cast_inputs is None or not ctx._fwd_used_autocast:
            return fwd(ctx, *args, **named)
        ctx._fwd_used_autocast = False
        with autocast("cpu", enabled=False):
            args, named = converted((args, named), cast_inputs)
            return fwd(ctx, *args, **named)

    return forward


def custom_bwd(bwd: Any = None, *, device_type: str) -> Any:
    """Decorate `backward` of an `autograd.Function`: it runs in the region of its forward.

    Args:
        bwd: the function; without it, a decorator is returned.
        device_type: "cpu".
    """
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx: Any, *args: Any, **named: Any) -> Any:
        with autocast(device_type, ctx._dtype, ctx._fwd_used_autocast):
            return bwd(ctx, *args, **named)

    return backward


def converted(value: Any, dtype: DType) -> Any:
    """Return nested values with their floating Tensors, but those of float64, in one dtype."""
    if isinstance(value, Tensor):
        floating = value.dtype in (float32, bfloat16, float16)
        return cast(Any, value).to(dtype) if floating else value
    if isinstance(value, dict):
        return {key: converted(v, dtype) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(converted(v, dtype) for v in value)
    return value
