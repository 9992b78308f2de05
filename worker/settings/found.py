"""What the sources gave: values by setting, each from exactly one source, and the problems with that."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from worker.errors import SettingsError
from worker.settings.fields import FIELDS, TABLES, Key, dotted, nearest
from worker.settings.secret import Secret

FILE_SUFFIX: Final = "_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A value as it was given. `text`: it comes from the environment, so numbers are written as text."""

    value: object = field(repr=False)
    source: str
    folder: Path
    text: bool = False


@dataclass(slots=True)
class Found:
    """What all sources together give, problems with names and sources included.

    `complete`: no source was unreadable, so what is not here is missing.
    """

    entries: dict[Key, Entry] = field(default_factory=dict)
    names: dict[str, dict[str, None]] = field(default_factory=lambda: {each: {} for each in TABLES})
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    complete: bool = True

    def put(self, prefix: Key, name: str, entry: Entry) -> None:
        """Take a value for the setting `name`, or for the secret that `name` gives a file for."""
        settings = FIELDS[prefix[0]]
        secret = (
            settings.get(name.removesuffix(FILE_SUFFIX)) if name.endswith(FILE_SUFFIX) else None
        )
        if name in settings:
            self._put_once((*prefix, name), entry)
        elif secret is not None and secret.is_secret:
            self._put_file((*prefix, secret.key), entry)
        else:
            names = [
                *settings,
                *(key + FILE_SUFFIX for key, each in settings.items() if each.is_secret),
            ]
            self.problems.append(
                f"{dotted((*prefix, name))} ({entry.source}): there is no such setting{nearest(name, names)}"
            )

    def _put_file(self, key: Key, entry: Entry) -> None:
        where = f"{dotted(key)}{FILE_SUFFIX} ({entry.source})"
        if not isinstance(entry.value, str) or not entry.value or "\0" in entry.value:
            self.problems.append(f"{where}: must be the path of a file that holds the secret")
            return
        secret = Secret(file=(entry.folder / entry.value).absolute())
        try:
            secret.reveal()
        except SettingsError as error:
            # A path without a slash may be the secret itself, so it is not repeated.
            reason = (
                error.problems[0] if "/" in entry.value else "the file that it names cannot be used"
            )
            self.problems.append(f"{where}: {reason}")
        self._put_once(
            key, replace(entry, value=secret, source=f"{key[-1]}{FILE_SUFFIX} in {entry.source}")
        )

    def _put_once(self, key: Key, entry: Entry) -> None:
        first = self.entries.setdefault(key, entry)
        if first is not entry:
            self.problems.append(
                f"{dotted(key)} is given twice: by {first.source} and by {entry.source}; keep one"
            )
