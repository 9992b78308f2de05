"""The producers' side of an audit: what was accepted, and who heard what."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearings:
    """What the producers logged, in order: their submissions by what became of them, and the replies."""

    confirmed: Mapping[str, Line]
    unknown: Mapping[str, Line]
    made: frozenset[str]
    replies: tuple[Line, ...]

    @property
    def jobs(self) -> frozenset[str]:
        """The jobs that were accepted."""
        return frozenset(line["job"] for line in self.confirmed.values())

    @property
    def unheard(self) -> tuple[str, ...]:
        """The submissions that were accepted, wait for a reply and have none."""
        heard = {line["submission"] for line in self.replies}
        waiting = (line for line in self.confirmed.values() if line["wants_reply"])
        return tuple(sorted({line["submission"] for line in waiting} - heard))

    @property
    def strays(self) -> tuple[str, ...]:
        """What was heard for a submission that nobody made, or that was not stored."""
        return tuple(sorted({line["submission"] for line in self.replies} - self.made))

    @property
    def strangers(self) -> tuple[str, ...]:
        """The submissions of which another tenant heard, or that heard the answer to another request."""
        own = {**self.unknown, **self.confirmed}
        return tuple(
            sorted(
                {
                    line["submission"]
                    for line in self.replies
                    if _is_strange(line, own.get(line["submission"], {}))
                }
            )
        )

    @property
    def differing(self) -> tuple[str, ...]:
        """The jobs of which two replies of one run had different bodies."""
        bodies: dict[tuple[str, int], set[str]] = defaultdict(set)
        for line in self.replies:
            bodies[line["job"], line["run"]].add(line["sha256"])
        return tuple(sorted({job for (job, _), seen in bodies.items() if len(seen) > 1}))


def read_hearings(producer: Iterable[Line]) -> Hearings:
    """Read the lines "intent", "confirmed", "refused", "unknown" and "reply"; others are no hearing."""
    by_event: dict[str, dict[str, Line]] = defaultdict(dict)
    replies: list[Line] = []
    for line in producer:
        if line["event"] == "reply":
            replies.append(line)
        elif "submission" in line:
            by_event[line["event"]][line["submission"]] = line
    intended = by_event["intent"].keys() - by_event["refused"].keys()
    confirmed, unknown = by_event["confirmed"], by_event["unknown"]
    return Hearings(
        confirmed=confirmed,
        unknown=unknown,
        made=frozenset(intended | confirmed.keys() | unknown.keys()),
        replies=tuple(replies),
    )


def _is_strange(reply: Line, own: Line) -> bool:
    """Tell whether a reply is not for whom it came to, or not about what was asked."""
    if "tenant" in reply and "tenant" in own and reply["tenant"] != own["tenant"]:
        return True
    answers, asked = reply.get("answers"), own.get("request")
    return bool(answers and asked and not asked.startswith(answers))
