"""How URLs are checked, and how they are shown without what may be secret in them."""

from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator

from producer_sdk.hosts import one_each
from worker.settings.secret import MASK


def split_url(value: str) -> SplitResult | None:
    """Give the URL's parts, or None when it cannot be read, or lacks a host, or a port is impossible.

    Of a URL with several hosts, ask none for host or port: `hosts_of` gives them.
    """
    try:
        parts = urlsplit(value)
        nodes = [urlsplit(each) for each in one_each(value)]
        readable = all(bool(node.hostname) and node.port != 0 for node in nodes)
    except ValueError:
        return None
    return parts if readable and value.isprintable() and " " not in value else None


def hosts_of(value: str) -> tuple[str, ...]:
    """Give the hosts of a URL that `split_url` can read."""
    return tuple(urlsplit(each).hostname or "" for each in one_each(value))


def show_url(value: str) -> str:
    """Give the URL without user, password and query; a mask when it cannot be read surely."""
    parts = split_url(value)
    if parts is None or not parts.scheme:
        return MASK
    user = f"{MASK}@" if "@" in parts.netloc else ""
    query = f"?{MASK}" if parts.query or parts.fragment else ""
    return f"{parts.scheme}://{user}{parts.netloc.rpartition('@')[2]}{parts.path}{query}"


def url(*schemes: str, user: bool = False, several: bool = False) -> AfterValidator:
    """Give the check of a URL: one of the schemes, a host, no query; a user or several hosts only where allowed."""

    def check(value: str) -> str:
        parts = split_url(value)
        if parts is None or parts.scheme not in schemes:
            raise ValueError(f"must be a URL that begins with {':// or '.join(schemes)}://")
        if parts.query or parts.fragment:
            raise ValueError("must have no query and no fragment")
        if "@" in parts.netloc and not user:
            raise ValueError("must hold no user and no password")
        if not several and len(hosts_of(value)) > 1:
            raise ValueError("must name one host")
        return value.rstrip("/") if parts.scheme.startswith("http") else value

    return AfterValidator(check)


def checked_database(value: str) -> str:
    """Give the URL of a Redis back, whose path is a database's number or nothing."""
    path = urlsplit(value).path.removeprefix("/")
    if path and not (path.isascii() and path.isdigit()):
        raise ValueError("must end with the number of a database, such as /0")
    return value
