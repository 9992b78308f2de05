"""What the sources gave: values by setting, each from exactly one source, and the problems with that."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from worker.errors import SettingsError
from worker.secrets.readers import Readers
from worker.secrets.reference import parse_reference
from worker.settings.fields import FIELDS, TABLES, Key, dotted, nearest
from worker.settings.secret import Secret

FILE_SUFFIX: Final = "_file"
FROM_SUFFIX: Final = "_from"


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
    readers: Readers = field(default_factory=Readers)

    def put(self, prefix: Key, name: str, entry: Entry) -> None:
        """Take a value for the setting `name`, or for the secret that `name` gives a file or a manager's place for."""
        settings = FIELDS[prefix[0]]
        indirect = {FILE_SUFFIX: self._put_file, FROM_SUFFIX: self._put_reference}
        for suffix, put in indirect.items():
            secret = settings.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
            if name not in settings and secret is not None and secret.is_secret:
                put((*prefix, secret.key), entry)
                return
        if name in settings:
            self._put_once((*prefix, name), entry)
        else:
            secrets = [key for key, each in settings.items() if each.is_secret]
            names = [*settings, *(key + suffix for key in secrets for suffix in indirect)]
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

    def _put_reference(self, key: Key, entry: Entry) -> None:
        """Note where a manager keeps the secret; nobody is asked for it yet."""
        source = f"{key[-1]}{FROM_SUFFIX} in {entry.source}"
        try:
            if not isinstance(entry.value, str):
                raise ValueError("must be a string")  # noqa: TRY004, TRY301  # told as the others are
            reference = parse_reference(entry.value)
        except ValueError as error:
            self.problems.append(f"{dotted(key)}{FROM_SUFFIX} ({entry.source}): {error}")
            return
        secret = Secret(reference=reference, read=self.readers.read)
        self._put_once(key, replace(entry, value=secret, source=source))

    def _put_once(self, key: Key, entry: Entry) -> None:
        first = self.entries.setdefault(key, entry)
        if first is not entry:
            self.problems.append(
                f"{dotted(key)} is given twice: by {first.source} and by {entry.source}; keep one"
            )
