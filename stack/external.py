"""A broker that somebody else runs: load Warren's definitions into it over its management API."""

import json
import urllib.error
import urllib.request
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from stack.errors import StackError

_MANAGEMENT_PORT = 15672
_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A broker's addresses, as host:port."""

    amqp: str
    management: str


def prepare(amqp_url: str, management_url: str | None, definitions: Path) -> Where:
    """Load the definitions with the URL's user, and give the broker's addresses.

    Raises:
        StackError: the URL is not one, or the management API refuses or cannot be reached.
    """
    amqp = urlsplit(amqp_url)
    if amqp.scheme != "amqp" or not amqp.hostname:
        raise StackError("RABBITMQ_URL must look like amqp://user:password@host:5672")
    host = amqp.hostname
    management = urlsplit(management_url or f"http://{host}:{_MANAGEMENT_PORT}")
    user = unquote(management.username or amqp.username or "guest")
    password = unquote(management.password or amqp.password or "guest")
    address = f"{management.hostname}:{management.port or _MANAGEMENT_PORT}"
    token = b64encode(f"{user}:{password}".encode()).decode()
    request = urllib.request.Request(
        f"http://{address}/api/definitions",
        data=json.dumps(json.loads(definitions.read_text(encoding="utf-8"))).encode(),
        headers={"authorization": f"Basic {token}", "content-type": "application/json"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310  # http, fixed above
            pass
    except urllib.error.HTTPError as error:
        raise StackError(
            f"the management API at {address} refused the definitions with {error.code}: "
            "the user of RABBITMQ_URL must be an administrator"
        ) from None
    except OSError as error:
        raise StackError(
            f"the management API at {address} cannot be reached ({error}): enable the plugin "
            "rabbitmq_management, or set RABBITMQ_MANAGEMENT_URL"
        ) from None
    return Where(amqp=f"{host}:{amqp.port or 5672}", management=address)
