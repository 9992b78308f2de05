"""Configurations that tests of the settings start from."""

from collections.abc import Mapping
from pathlib import Path

from worker.errors import SettingsError
from worker.settings import Settings, load

MINIMAL = """
[broker]
url = "amqp://worker@127.0.0.1/"

[tiers.premium]
endpoints = ["main"]

[endpoints.main]
base_url = "https://api.example/v1"
"""


class Folder:
    """A folder with a configuration file, and files beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "warren.toml"

    def file(self, name: str, content: str, *, mode: int = 0o600) -> Path:
        path = self.path / name
        path.write_text(content)
        path.chmod(mode)
        return path

    def load(self, text: str = MINIMAL, environ: Mapping[str, str] | None = None) -> Settings:
        self.file("warren.toml", text)
        return load(self.config, environ or {})

    def problems(
        self, text: str = MINIMAL, environ: Mapping[str, str] | None = None
    ) -> tuple[str, ...]:
        """Give the problems of a configuration; none if it loads."""
        try:
            self.load(text, environ)
        except SettingsError as error:
            return error.problems
        return ()


def having(section: str, *lines: str) -> str:
    """Give the minimal configuration with lines added to one of its sections, which may be new."""
    head = f"[{section}]\n"
    added = "".join(f"{line}\n" for line in lines)
    if head in MINIMAL:
        return MINIMAL.replace(head, head + added)
    return f"{MINIMAL}\n{head}{added}"
