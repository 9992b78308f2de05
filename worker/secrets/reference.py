"""Where a manager keeps a secret, as the configuration writes it: `vault:secret/data/openai#key`."""

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from worker.errors import SecretUnavailable


class Manager(StrEnum):
    """The managers of secrets; each word is the extra that brings its library, and how a reference begins."""

    VAULT = "vault"
    AWS = "aws"
    GCP = "gcp"
    AZURE = "azure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A secret's place. `field` picks one value out of a secret that holds several; None: the whole text."""

    manager: Manager
    path: str
    field: str | None = None

    def __str__(self) -> str:
        return f"{self.manager}:{self.path}{'' if self.field is None else f'#{self.field}'}"


FORMS: Final[dict[Manager, str]] = {
    Manager.VAULT: "vault:secret/data/openai#key",
    Manager.AWS: "aws:prod/openai#key",
    Manager.GCP: "gcp:projects/my-project/secrets/openai-key",
    Manager.AZURE: "azure:my-vault/openai-key",
}
"""How each is written; what follows `#` may be left out where a secret is the whole text."""

_SEGMENT: Final = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9_.-]{1,128}"
_PATHS: Final[dict[Manager, re.Pattern[str]]] = {
    # The path of the API below /v1/, with the `data` of a KV store of version 2 in it.
    Manager.VAULT: re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})+"),
    # A name or an ARN; the characters are those that AWS allows in names, and the ARN's colons.
    Manager.AWS: re.compile(r"[A-Za-z0-9/_+=.@:-]{1,2048}"),
    Manager.GCP: re.compile(
        rf"projects/{_SEGMENT}/(?:locations/{_SEGMENT}/)?secrets/{_SEGMENT}(?:/versions/{_SEGMENT})?"
    ),
    # A vault's name, or its host in another cloud than the public one; secret; version.
    Manager.AZURE: re.compile(rf"{_SEGMENT}/[A-Za-z0-9-]{{1,127}}(?:/[A-Za-z0-9]{{1,64}})?"),
}
_FIELD: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def parse_reference(text: str) -> Reference:
    """Give the place that the text names.

    Raises:
        ValueError: it names none; the error repeats nothing of the text, which may be a misplaced secret.
    """
    named, _, rest = text.partition(":")
    path, hash_, field = rest.rpartition("#") if "#" in rest else (rest, "", "")
    try:
        manager = Manager(named)
    except ValueError:
        forms = ", ".join(f'"{form}"' for form in FORMS.values())
        raise ValueError(f"must be the place of a secret, such as {forms}") from None
    wrong = (
        _PATHS[manager].fullmatch(path) is None
        or (hash_ and _FIELD.fullmatch(field) is None)
        or (manager is Manager.VAULT and not hash_)
    )
    if wrong:
        raise ValueError(f'must look like "{FORMS[manager]}"')
    return Reference(manager=manager, path=path, field=field or None)


def picked(text: str, field: str | None) -> str:
    """Give the field of a secret whose text is a JSON object of strings; without a field the text itself.

    Raises:
        SecretUnavailable: there is no such field; nothing of the text is repeated.
    """
    if field is None:
        return text
    problem = ""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        problem = f"is no JSON object that could have a field {field}"
    else:
        if isinstance(values, dict) and isinstance(value := values.get(field), str):
            return value
        problem = f"has no text in a field {field}"
    # Beyond the `except`, so that the error has no context: a JSON error carries the whole document.
    raise SecretUnavailable(problem)
