"""Optional packages, imported when first needed."""

from __future__ import annotations

import importlib
from types import ModuleType

from talweg.base.errors import MissingExtra


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package.

    Args:
        module: the module's name, such as `safetensors.numpy`.
        extra: the extra of talweg that installs it.

    Raises:
        MissingExtra: when it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{module.split('.')[0]} is not installed ({error}); "
            f"install it with: pip install 'talweg[{extra}]'"
        ) from None
