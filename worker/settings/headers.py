"""Which headers an endpoint may be given, so that a setting cannot break or redirect a call."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from worker.upstream.spec import KEY_HEADERS, OWN_HEADERS

# RFC 9110, section 5.1: a field name is a token.
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,8190}[\x21-\x7e])?")
# The client writes these itself: a second value would change where a message ends or who it is from.
_OURS: Final[Mapping[str, str]] = MappingProxyType(
    {
        name: "set key, or key_file, instead" if name in KEY_HEADERS else "the client sets it"
        for name in OWN_HEADERS
    }
)


def checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Give the headers back, frozen, if every one may be added to a call.

    Raises:
        ValueError: a header is none of ours to add, or is no header; its value is not repeated.
    """
    names = [name.lower() for name in headers]
    for name, value in headers.items():
        if _NAME.fullmatch(name) is None:
            raise ValueError("has a name that no HTTP header may have")
        if (reason := _OURS.get(name.lower())) is not None:
            raise ValueError(f"must not have {name}: {reason}")
        if names.count(name.lower()) > 1:
            raise ValueError(f"has {name} twice: upper and lower case do not matter")
        if _VALUE.fullmatch(value) is None:
            raise ValueError(
                f"has a value of {name} that is not 1 to 8192 visible ASCII characters"
            )
    return MappingProxyType(dict(headers))
