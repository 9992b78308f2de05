"""What the simulator understands of a request before it decides anything. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from simulator.wire import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request, read once: its hash, and the fields of its JSON body if it has one."""

    method: str
    path: str
    body: bytes
    sha256: str
    fields: Mapping[str, object] | None
    """None where the body is not a JSON object."""

    @property
    def model(self) -> str | None:
        """The model's name, or None if the request names none."""
        return self._text("model")

    @property
    def user(self) -> str | None:
        """The `user` field, which may carry a plan."""
        return self._text("user")

    def _text(self, name: str) -> str | None:
        value = self.fields.get(name) if self.fields else None
        return value if isinstance(value, str) else None


def read(request: Request) -> Ask:
    """Read the request; a body that is no JSON object leaves `fields` as None."""
    try:
        fields = json.loads(request.body) if request.body else None
    except (ValueError, RecursionError):
        fields = None
    return Ask(
        method=request.method,
        path=request.path,
        body=request.body,
        sha256=hashlib.sha256(request.body).hexdigest(),
        fields=fields if isinstance(fields, dict) else None,
    )
