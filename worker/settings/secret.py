"""A value that nobody may see by accident: masked wherever it is printed, read again when asked."""

import os
import stat
from pathlib import Path
from typing import Final

from worker.errors import SettingsError

MASK: Final = "***"
# No key or password comes near this; it keeps a wrong path (a device, a dump) out of memory.
_LARGEST: Final = 65_536


class Secret:
    """A password or key, given as a value or as a file.

    `repr` and `str` show only a mask, and two secrets are never compared: whoever needs the value says so
    with `reveal`. A secret with a file is read again at each `reveal`, so a rotated file takes effect
    without a restart.
    """

    __slots__ = ("_value", "file")

    def __init__(self, value: str = "", *, file: Path | None = None) -> None:
        self._value = value
        self.file = file

    def reveal(self) -> str:
        """Give the value: of a file, what it holds now, without the newline at its end.

        Reads a small file, so it may block for as long as its disk does.

        Raises:
            SettingsError: the value, or the file by now, cannot serve as a secret.
        """
        try:
            return checked(self._value if self.file is None else _read(self.file))
        except ValueError as error:
            where = "the secret" if self.file is None else f"the secret file {self.file}"
            raise SettingsError((f"{where} {error}",)) from None

    @property
    def exposed(self) -> bool:
        """Whether everybody on the machine may read the secret's file."""
        return self.file is not None and world_readable(self.file)

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled: pass its source instead")


def checked(value: str) -> str:
    """Give the value back if it can serve as a secret.

    Raises:
        ValueError: it is empty or holds a control character; the text completes "the secret ...".
    """
    if not value:
        raise ValueError("is empty")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):  # noqa: PLR2004  # ASCII's control characters
        raise ValueError("holds a line break or another control character")
    return value


def world_readable(path: Path) -> bool:
    """Tell whether everybody on the machine may read the file; False when there is none."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _read(path: Path) -> str:
    try:
        # A FIFO would block here for ever, so look before opening.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("is not a regular file")
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {os.strerror(error.errno or 0)}") from None
    if len(raw) > _LARGEST:
        raise ValueError(f"is larger than {_LARGEST} bytes")
    try:
        return raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
