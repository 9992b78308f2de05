"""What a check between settings finds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A rule that does not hold. `about`: the settings it looked at; one broken in itself makes it void."""

    about: tuple[str, ...]
    text: str
