"""The exceptions of talweg.

Each class is also the built-in exception that Python (and PyTorch) programs already catch for that
mistake, so `except RuntimeError`, `except IndexError` and the like keep working.
"""

from __future__ import annotations

__all__ = [
    "DTypeError",
    "DataError",
    "DeviceError",
    "GradientError",
    "GraphError",
    "IndexOutOfRange",
    "InvalidValue",
    "LinAlgError",
    "MissingExtra",
    "MissingFile",
    "ObservationError",
    "ShapeError",
    "TalwegError",
    "WrongResult",
    "located",
]


FROM_ZERO = "; indices count from 0, so the last one is the size less 1"


class TalwegError(RuntimeError):
    """Base of every error that talweg raises on purpose."""


class ShapeError(TalwegError, ValueError):
    """Shapes, axes or sizes that do not fit; the message names them."""


class DTypeError(TalwegError, TypeError):
    """A dtype that the operation does not accept, or a lossy in-place conversion."""


class IndexOutOfRange(TalwegError, IndexError):
    """An index outside its axis, found while recording or while running."""


class InvalidValue(TalwegError, ValueError):
    """An argument whose value is not allowed."""


class LinAlgError(TalwegError):
    """A matrix without the inverse or factors that were asked for; the message names which one."""


class GradientError(TalwegError):
    """A gradient that cannot be taken: freed, overwritten or never recorded."""


class CaptureError(TalwegError):
    """A function given to `tw.compile(fullgraph=True)` that cannot be captured."""


class GraphError(TalwegError):
    """A Graph that the verifier or the parser rejects."""


class DeviceError(TalwegError):
    """A device that is not there or cannot do what was asked."""


class DataError(TalwegError, ValueError):
    """A sample, file or data set that cannot be read."""


class MissingFile(DataError, FileNotFoundError):
    """A file or folder that is not there."""


class MissingExtra(TalwegError, ImportError):
    """An optional package that is not installed; the message names the extra."""


class ObservationError(TalwegError):
    """A value was looked at where that is not wanted: under `no_sync`."""


class WrongResult(TalwegError):
    """A result of compiled code that the references contradict; a fault of talweg itself."""


def located(error: Exception, where: str) -> Exception:
    """Return an error of the same class whose message also names the user's line.

    Args:
        error: the error raised by a rule while a Graph ran.
        where: the text of the line, such as `train.py:12: y = x[i]`.
    """
    text = f"{error}\n  recorded at {where}"
    if isinstance(error, TalwegError):
        return type(error)(text)
    if isinstance(error, IndexError):
        return IndexOutOfRange(text)
    return TalwegError(text)
