"""A value that nobody may see by accident: masked wherever it is printed, read again when asked."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from worker.errors import SecretUnavailable, SettingsError
from worker.secrets.reference import Reference

MASK: Final = "***"
# No key or password comes near this; it keeps a wrong path (a device, a dump) out of memory.
_LARGEST: Final = 65_536


class Secret:
    """A password or key, given as a value, as a file, or as the place where a manager of secrets keeps it.

    `repr` and `str` show only a mask, and two secrets are never compared: whoever needs the value says so
    with `reveal`. A secret with a file is read again at each `reveal`, so a rotated file takes effect
    without a restart. What a manager gave is kept until `renew` asks it again. `read` is how managers are asked.
    """

    __slots__ = ("_read", "_value", "file", "reference")

    def __init__(
        self,
        value: str = "",
        *,
        file: Path | None = None,
        reference: Reference | None = None,
        read: Callable[[Reference], str] | None = None,
    ) -> None:
        self._value = value
        self._read = read
        self.file = file
        self.reference = reference

    def reveal(self) -> str:
        """Give the value: of a file, what it holds now, without the newline at its end.

        Reads a small file, so it may block for as long as its disk does; of a manager's secret only the first
        time blocks, for as long as the manager takes.

        Raises:
            SettingsError: the value, or the file by now, cannot serve as a secret, or the manager gives none.
        """
        if self.reference is not None and self._value:
            return self._value
        return self.renew()

    def renew(self) -> str:
        """Give the value as it is at its source now. Blocks where that is a file or a manager.

        Raises:
            SettingsError: as `reveal`; what a manager gave before is kept then.
        """
        problem = ""
        try:
            if self.file is not None:
                return checked(_read(self.file))
            if self.reference is not None and self._read is not None:
                self._value = checked(self._read(self.reference).rstrip("\r\n"))
            return checked(self._value)
        except (ValueError, SecretUnavailable) as error:
            problem = str(error)
        raise SettingsError((f"{self._named} {problem}",))

    @property
    def place(self) -> str:
        """Where the value is: a file, a manager's place, or the configuration itself."""
        return str(self.file or self.reference or "the configuration")

    @property
    def _named(self) -> str:
        if self.file is not None:
            return f"the secret file {self.file}"
        return "the secret" if self.reference is None else f"the secret {self.reference}"

    @property
    def fixed(self) -> bool:
        """Whether the value can never be another one: it stands in the configuration."""
        return self.file is None and self.reference is None

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
