"""RabbitMQ's management API, for operators' commands. It blocks: asynchronous users call it in a thread."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlsplit

from worker.broker.comparison import Difference, Found, compare, name_of
from worker.broker.definitions import to_definitions
from worker.broker.topology import Topology
from worker.errors import BrokerUnavailable, SettingsError

_TIMEOUT_S: Final = 10
# What cannot be changed in place, or is of a user who is not there: the check afterwards tells it.
_REFUSALS: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND})
_MOST_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """A queue as it stands, by the management API's last sample.

    `head_at` is when its oldest message was made, in seconds since the epoch, where the broker knows.
    """

    name: str
    ready: int
    unacked: int
    consumers: int
    head_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """On how many nodes a quorum queue lives, and how many of these run."""

    members: int
    online: int


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows nothing: the password would go along."""

    def redirect_request(self, *_: object) -> None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Management:
    """One virtual host, seen and changed through the management API at `url`."""

    url: str
    user: str
    password: str = field(repr=False)
    vhost: str = "warren"

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in {"http", "https"}:
            raise SettingsError(("the management API's URL must begin with http:// or https://",))

    def found(self) -> Found:
        """Give what the virtual host holds; None where this user may not look.

        Raises:
            BrokerUnavailable: the API cannot be reached, or refuses the user.
        """
        vhost = quote(self.vhost, safe="")
        return Found(
            exchanges=self._list(f"exchanges/{vhost}"),
            queues=self._list(f"queues/{vhost}"),
            bindings=self._list(f"bindings/{vhost}"),
            policies=self._look(f"policies/{vhost}"),
            users=self._look("users"),
            permissions=self._look("permissions"),
            topic_permissions=self._look("topic-permissions"),
            vhost=self.vhost,
        )

    def check(self, wanted: Topology) -> list[Difference]:
        """Tell how the virtual host differs from what is wanted; empty: it does not.

        Raises:
            BrokerUnavailable: the API cannot be reached, or refuses the user.
        """
        return compare(wanted, self.found())

    def apply(self, wanted: Topology) -> list[Difference]:
        """Make what is missing, mend what can be mended in place, and tell what still differs.

        Users are not made: they need passwords. Nothing is ever deleted.

        Raises:
            BrokerUnavailable: the API cannot be reached, or refuses the user.
        """
        vhost = quote(self.vhost, safe="")
        differing = {(difference.kind, difference.name) for difference in self.check(wanted)}
        definitions = to_definitions(wanted, vhost=self.vhost)
        for kind, path in _PLACES.items():
            for thing in definitions[kind]:
                name = name_of(kind, thing)
                if (kind, name) not in differing:
                    continue
                if kind == "bindings":
                    ends = f"e/{quote(thing['source'], safe='')}/q/{quote(thing['destination'], safe='')}"
                    key = {"routing_key": thing["routing_key"], "arguments": {}}
                    self._ask("POST", f"bindings/{vhost}/{ends}", key)
                else:
                    place = path.format(
                        vhost=vhost, name=quote(thing.get("name", thing.get("user", "")), safe="")
                    )
                    self._ask("PUT", place, thing, tolerate=_REFUSALS)
        return self.check(wanted)

    def queues(self) -> list[QueueStatus]:
        """Give all of Warren's queues, in the order of their names.

        Raises:
            BrokerUnavailable: the API cannot be reached, or refuses the user.
        """
        listed = self._list(f"queues/{quote(self.vhost, safe='')}")
        return sorted(
            (_status(queue) for queue in listed if str(queue["name"]).startswith("warren.")),
            key=lambda status: status.name,
        )

    def date(self) -> datetime | None:
        """Give the broker host's clock, to the second; None where it does not tell.

        Raises:
            BrokerUnavailable: the API cannot be reached, or refuses the user.
        """
        _, date = self._respond("GET", "whoami")
        try:
            return parsedate_to_datetime(date)
        except ValueError:
            return None

    def version(self) -> str:
        """Give RabbitMQ's version.

        Raises:
            BrokerUnavailable: the API cannot be reached, or refuses the user.
        """
        overview = self._ask("GET", "overview")
        if not isinstance(overview, dict):
            raise BrokerUnavailable(self._not_it())
        return str(overview.get("rabbitmq_version"))

    def replicas(self) -> tuple[int, dict[str, Replicas]]:
        """Give how many nodes the cluster has, 0 where this user may not see them, and where each quorum queue lives.

        Raises:
            BrokerUnavailable: the API cannot be reached, or refuses the user.
        """
        found = {
            str(queue["name"]): Replicas(
                members=len(queue.get("members") or ()), online=len(queue.get("online") or ())
            )
            for queue in self._list(f"queues/{quote(self.vhost, safe='')}")
            if queue.get("type") == "quorum" and str(queue["name"]).startswith("warren.")
        }
        return len(self._look("nodes") or ()), found

    def delivery_timeouts(self) -> dict[str, timedelta]:
        """Give how long a delivery may be held, for each of Warren's queues where a policy or argument says so.

        Raises:
            BrokerUnavailable: the API cannot be reached, or refuses the user.
        """
        found: dict[str, timedelta] = {}
        for queue in self._list(f"queues/{quote(self.vhost, safe='')}"):
            limits = (
                (queue.get("arguments") or {}).get("x-consumer-timeout"),
                (queue.get("effective_policy_definition") or {}).get("consumer-timeout"),
            )
            set_ms = [limit for limit in limits if isinstance(limit, int)]
            if set_ms:
                found[str(queue["name"])] = timedelta(milliseconds=min(set_ms))
        return found

    def close_connections(self, user: str, *, reason: str = "closed by an operator") -> int:
        """Close all connections of a user, to any virtual host, and tell how many there were.

        Raises:
            BrokerUnavailable: the API cannot be reached, or refuses the user.
        """
        # This list is exact; the others lag behind by a sampling interval.
        path = f"connections/username/{quote(user, safe='')}"
        found = self._list(path)
        if found and not self._close(path, reason, tolerate={HTTPStatus.INTERNAL_SERVER_ERROR}):
            # RabbitMQ says that when one of them ends by itself just then; now it is not there any more.
            self._close(path, reason, tolerate=frozenset())
        return len(found)

    def _close(self, path: str, reason: str, *, tolerate: AbstractSet[HTTPStatus]) -> bool:
        """Close connections; False: the status is one that is tolerated."""
        _, date = self._respond("DELETE", path, headers={"X-Reason": reason}, tolerate=tolerate)
        return bool(date)

    def _look(self, path: str) -> list[dict[str, Any]] | None:
        """List what only some users may see; None: not this one."""
        answer = self._ask("GET", path, tolerate={HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
        return answer if isinstance(answer, list) else None

    def _list(self, path: str) -> list[dict[str, Any]]:
        answer = self._ask("GET", path)
        if not isinstance(answer, list):
            raise BrokerUnavailable(self._not_it())
        return answer

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        tolerate: AbstractSet[HTTPStatus] = frozenset(),
    ) -> Any:  # noqa: ANN401  # JSON
        text, _ = self._respond(method, path, body, headers=headers, tolerate=tolerate)
        try:
            return json.loads(text) if text else None
        except ValueError:
            raise BrokerUnavailable(self._not_it()) from None

    def _respond(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        tolerate: AbstractSet[HTTPStatus] = frozenset(),
    ) -> tuple[bytes, str]:
        """Give the answer's body, empty for a status that is tolerated, and its Date."""
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        request = urllib.request.Request(  # noqa: S310  # the scheme was checked
            f"{self.url.rstrip('/')}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {pair}", "Content-Type": "application/json"}
            | dict(headers or {}),
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())
        try:
            with opener.open(request, timeout=_TIMEOUT_S) as response:
                return response.read(_MOST_BYTES), response.headers.get("Date", "")
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in tolerate:
                return b"", ""
            raise BrokerUnavailable(self._refused(error.code, method, path)) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise BrokerUnavailable(
                f"the management API at {self.url} cannot be reached ({reason}); check the URL, and that the "
                "broker runs with its management plugin"
            ) from None

    def _refused(self, code: int, method: str, path: str) -> str:
        match code:
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                return (
                    f"the management API at {self.url} refuses user {self.user!r}; check the password, and that "
                    "the user has a tag (monitoring to look, administrator to change) and permissions in virtual "
                    f"host {self.vhost!r}"
                )
            case HTTPStatus.NOT_FOUND:
                return (
                    f"the management API at {self.url} does not know {path}; check that the URL is the "
                    f"management port's and that the virtual host {self.vhost!r} exists"
                )
            case _:
                return f"the management API at {self.url} answered {code} to {method} {path}; see the broker's log"

    def _not_it(self) -> str:
        return f"what answers at {self.url} is not RabbitMQ's management API; check host and port"


# In the order in which they have to be made.
_PLACES: Final = {
    "exchanges": "exchanges/{vhost}/{name}",
    "queues": "queues/{vhost}/{name}",
    "bindings": "",
    "policies": "policies/{vhost}/{name}",
    "permissions": "permissions/{vhost}/{name}",
    "topic_permissions": "topic-permissions/{vhost}/{name}",
}


def _status(queue: Mapping[str, Any]) -> QueueStatus:
    head_at = queue.get("head_message_timestamp")
    return QueueStatus(
        name=str(queue["name"]),
        ready=int(queue.get("messages_ready") or 0),
        unacked=int(queue.get("messages_unacknowledged") or 0),
        consumers=int(queue.get("consumers") or 0),
        head_at=head_at if isinstance(head_at, int) else None,
    )
