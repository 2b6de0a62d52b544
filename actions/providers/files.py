"""Files that are whole at every instant: readers, and whoever comes after a crash, see the old one or the new one."""

from __future__ import annotations

import glob
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_LEFT_BEHIND = 3600  #: seconds after which what was to become a file belongs to an attempt that was killed


def put(path: Path, data: bytes, *, mode: int = 0o644, still: Callable[[], bool] | None = None) -> bool:
    """Put a file in place at once, on the disk before this returns. Its folder must be there.

    Others may write the same file at the same time: one of them is last. A link is replaced, not followed.

    Args:
        path: the file; one that is there keeps its permissions.
        data: all of it.
        mode: permissions of a file that is new, less the umask.
        still: asked right before; where it says no, everything stays as it was and False is given.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            _keep_permissions(file.fileno(), path)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _sweep(path, temporary.stat().st_mtime)
        if still is not None and not still():
            return False
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return True


def _keep_permissions(handle: int, path: Path) -> None:
    with suppress(FileNotFoundError):
        was = path.lstat().st_mode
        if stat.S_ISREG(was):
            os.fchmod(handle, stat.S_IMODE(was))


def _sweep(path: Path, now: float) -> None:
    """Remove what killed attempts at this file left beside it; `now` by the clock of the file system."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(FileNotFoundError):
            if now - left.lstat().st_mtime > _LEFT_BEHIND:
                left.unlink()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
