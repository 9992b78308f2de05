"""Asks a service of this container for a page: exit status 0 if the answer is 200, else 1.

A container's health check, on the standard library alone: `python -I healthcheck.py http://127.0.0.1:9464/readyz`.
"""

import sys
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

# Less than the health check's own limit, so that the reason is told.
_TIMEOUT_S = 3


def main(url: str) -> int:
    """Ask once; anything but 200 is told on stdout, which `docker inspect` shows."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        text = answer.read(1000).decode(errors="replace").strip()
    except (OSError, HTTPException) as error:
        print(f"{url}: {str(error) or type(error).__name__}")
        return 1
    finally:
        connection.close()
    if answer.status != 200:  # noqa: PLR2004  # HTTP's OK
        print(f"{url}: {answer.status} {text}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
