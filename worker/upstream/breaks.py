"""How a call broke: httpx's exceptions to `Break`. Of their texts nothing is kept, only looked at."""

from typing import Final

import httpx

from worker.core.classify import Break
from worker.upstream.transport import NotTaken

# The first class that fits stands, so the narrow ones come first; the last fits all.
_BREAKS: Final[tuple[tuple[type[httpx.RequestError], Break], ...]] = (
    (NotTaken, Break.NOT_TAKEN),
    (httpx.ConnectTimeout, Break.CONNECT_TIMEOUT),
    (httpx.PoolTimeout, Break.CONNECT_TIMEOUT),
    (httpx.TimeoutException, Break.SILENT),
    (httpx.ConnectError, Break.UNCONNECTED),
    (httpx.NetworkError, Break.CUT),
    (httpx.LocalProtocolError, Break.UNSENDABLE),
    (httpx.UnsupportedProtocol, Break.UNSENDABLE),
    (httpx.ProxyError, Break.UNCONNECTED),
    (httpx.RequestError, Break.PROTOCOL),
)

# A connection fails for reasons that only the text tells apart, in each library's words.
_REASONS: Final[tuple[tuple[str, Break], ...]] = (
    ("certificate", Break.CERTIFICATE),
    ("dns error", Break.UNRESOLVED),
    ("name or service not known", Break.UNRESOLVED),
    ("no address associated", Break.UNRESOLVED),
    ("connection refused", Break.REFUSED),
    ("connect call failed", Break.REFUSED),
)


def how_it_broke(error: httpx.RequestError) -> Break:
    """Give the way in which a call broke."""
    broken = next(broken for kind, broken in _BREAKS if isinstance(error, kind))
    if broken is not Break.UNCONNECTED:
        return broken
    text = str(error).lower()
    return next((reason for words, reason in _REASONS if words in text), broken)
