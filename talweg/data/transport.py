"""Messages between a loader and the worker processes that it has started.

They are pickled, which is safe between a process and its own workers. On Linux large arrays do not
pass through the pipe: the worker writes them to a file that lives in memory only, and sends its
descriptor; the parent maps it. Nobody has to remove such a file: it ends with its last user, also
when both processes are killed.
"""

from __future__ import annotations

import mmap
import os
import pickle
import sys
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection

SHARED = sys.platform == "linux" and hasattr(os, "memfd_create")
SHARED_BYTES = 1 << 18
"""Messages with fewer bytes of arrays pass through the pipe."""

_ALIGN = 64


@dataclass(frozen=True)
class Packed:
    """A message ready to be sent.

    Args:
        body: the pickle, without the bytes of large arrays.
        spans: offset and size of each array in the file.
        file: descriptor of the file, or -1 when there is none.
    """

    body: bytes
    spans: tuple[tuple[int, int], ...] = ()
    file: int = -1


def pack(message: object) -> Packed:
    """Pickle a message.

    Raises:
        PicklingError, TypeError, AttributeError: for what cannot be pickled.
        OSError: when there is no memory for the arrays.
    """
    if not SHARED:
        return Packed(pickle.dumps(message, protocol=5))
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    if sum(view.nbytes for view in views) < SHARED_BYTES:
        return Packed(pickle.dumps(message, protocol=5))
    file = os.memfd_create("talweg-batch")
    try:
        spans, end = [], 0
        for view in views:
            start = -(-end // _ALIGN) * _ALIGN
            end = start + view.nbytes
            spans.append((start, view.nbytes))
            while view.nbytes:
                view = view[os.pwrite(file, view, end - view.nbytes) :]
        os.ftruncate(file, end)
    except BaseException:
        os.close(file)
        raise
    return Packed(body, tuple(spans), file)


def send(pipe: Connection, packed: Packed) -> None:
    """Send a packed message; its file is closed here.

    Raises:
        OSError: when the other side is gone.
    """
    if packed.file < 0:
        pipe.send_bytes(packed.body)
        return
    try:
        pipe.send_bytes(b"")
        pipe.send_bytes(pickle.dumps(packed.spans))
        pipe.send_bytes(packed.body)
        reduction.send_handle(pipe, packed.file, 0)
    finally:
        os.close(packed.file)


def receive(pipe: Connection) -> object:
    """Wait for a message.

    Raises:
        EOFError, OSError: when the other side is gone.
    """
    body = pipe.recv_bytes()
    if body:
        return pickle.loads(body)
    spans = pickle.loads(pipe.recv_bytes())
    body = pipe.recv_bytes()
    file = reduction.recv_handle(pipe)
    try:
        memory = memoryview(mmap.mmap(file, 0))
    finally:
        os.close(file)
    return pickle.loads(body, buffers=[memory[start : start + size] for start, size in spans])
