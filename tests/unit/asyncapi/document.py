"""The contract's document, read, with its references followed."""

from typing import Any, Final

import yaml

from tests.faults.vhost import ROOT

DOCUMENT: Final[dict[str, Any]] = yaml.safe_load(
    (ROOT / "docs/asyncapi.yaml").read_text(encoding="utf-8")
)
MESSAGES: Final[dict[str, Any]] = DOCUMENT["components"]["messages"]
SCHEMAS: Final[dict[str, Any]] = DOCUMENT["components"]["schemas"]
CHANNELS: Final[dict[str, Any]] = DOCUMENT["channels"]

# What tells a reader something and a program nothing.
_PROSE: Final = frozenset({"description", "title", "examples"})


def follow(reference: str) -> Any:  # noqa: ANN401  # whatever stands there
    """Give what a reference within the document leads to."""
    place: Any = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        place = place[name]
    return place


def whole(part: Any) -> Any:  # noqa: ANN401  # any JSON
    """Give a part of the document with every reference in it replaced by what it leads to."""
    match part:
        case {"$ref": str(reference)}:
            return whole(follow(reference))
        case dict():
            return {key: whole(value) for key, value in part.items()}
        case list():
            return [whole(value) for value in part]
        case _:
            return part


def rules(schema: Any) -> Any:  # noqa: ANN401  # any JSON
    """Give a schema as a program reads it: no references, no prose, and an `allOf` of one part taken apart."""
    return _bare(whole(schema))


def _bare(schema: Any) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: (
            {name: _bare(each) for name, each in value.items()}
            if key == "properties"
            else _bare(value)
        )
        for key, value in schema.items()
        if key not in _PROSE
    }
    match kept.pop("allOf", None):
        case [only]:
            return {**only, **kept}
        case None:
            return kept
        case several:
            return {**kept, "allOf": several}
