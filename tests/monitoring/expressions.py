"""What an expression in Prometheus' language asks for, as far as a test needs it: metrics, and the labels of each."""

import re
from collections.abc import Iterator

# Words of the language that stand where a metric could.
_WORDS = frozenset(
    {"and", "bool", "by", "group_left", "group_right", "on", "or", "unless", "without"}
)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_CLAUSE = re.compile(r"\b(?:by|on|group_left|without)\s*\([^)]*\)")
_WINDOW = re.compile(r"\[[^]]*\]")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)?\s*(?:\{([^}]*)\})?")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")


def asked(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Give each metric that the expression names, with the labels that it selects by."""
    plain = _WINDOW.sub("", _CLAUSE.sub("", _STRING.sub('""', expression)))
    for found in _SELECTOR.finditer(plain):
        name, selector = found.groups()
        following = plain[found.end() :].lstrip()[:1]
        if name is None or name in _WORDS or following == "(":
            continue
        yield name, set(_LABEL.findall(selector or ""))


def names(expression: str) -> set[str]:
    """Give the metrics alone; those that are chosen by a pattern of their names too."""
    by_pattern = re.findall(r'__name__=~"([^"]+)"', expression)
    return {name for name, _ in asked(expression)} | {
        name for pattern in by_pattern for name in _alternatives(pattern)
    }


def _alternatives(pattern: str) -> Iterator[str]:
    """Give what `a_(b|c)_d` stands for."""
    found = re.fullmatch(r"(\w*)\((\w+(?:\|\w+)*)\)(\w*)", pattern)
    assert found is not None, pattern
    before, among, after = found.groups()
    yield from (before + each + after for each in among.split("|"))
