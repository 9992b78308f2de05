"""Scripts that run inside the server, each as one step that nothing else comes between."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the hash by which a server knows it."""

    source: str
    sha: str

    @classmethod
    def of(cls, *sources: str) -> Self:
        """Give the script that the sources make one after the other."""
        source = "\n".join(sources)
        return cls(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def read(name: str) -> str:
    """Give the text of a `.lua` file of this folder."""
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
