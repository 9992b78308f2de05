"""The worker's exceptions: for broken settings, a broken broker or store, and bugs. Expected ends are values.

WarrenError
├── SettingsError        the configuration cannot be used; lists every problem
├── SecretUnavailable    a manager does not give a secret now
├── CannotStart          this machine does not give the worker what it needs to start
├── StoreUnavailable     the ledger or the cache cannot be read or written now
│   └── StoreUnusable    nor later, until an operator has mended it
├── BrokerUnavailable    RabbitMQ cannot be reached or refuses us now
├── TopologyError        the broker lacks an exchange, queue or right that Warren needs
└── Unreadable           a message does not follow the wire contract; it is set aside alone
"""


class WarrenError(Exception):
    """The root of the worker's exceptions."""


class SettingsError(WarrenError):
    """The configuration cannot be used; `problems` has one line each: path, value, expectation."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(
            f"the configuration has a problem: {problems[0]}"
            if len(problems) == 1
            else f"the configuration has problems:\n{listed}"
        )
        self.problems = problems


class SecretUnavailable(WarrenError):  # noqa: N818  # reads as what it is, like StoreUnavailable
    """A manager does not give a secret now; the text completes "<the secret's place> ...", without any value."""


class CannotStart(WarrenError):  # noqa: N818  # a sentence: the worker cannot start
    """This machine does not give the worker what it needs to start, such as an address to listen on."""


class StoreUnavailable(WarrenError):  # noqa: N818  # reads as what it is, like BrokerUnavailable
    """The ledger or the cache cannot be read or written now; nothing was changed, or a repeat finds it so."""


class StoreUnusable(StoreUnavailable):
    """The store cannot be used until an operator has mended it: it is damaged, or may not be opened.

    A worker that runs waits for that as for any other outage; one that starts ends with this error.
    """


class BrokerUnavailable(WarrenError):  # noqa: N818  # see StoreUnavailable
    """RabbitMQ cannot be reached or refuses us now."""


class TopologyError(WarrenError):
    """The broker lacks an exchange, a queue or a right that Warren needs: `warren topology check` names it."""


class Unreadable(WarrenError):  # noqa: N818  # an adjective names the message, not a failure of ours
    """A message does not follow the wire contract; the text is the reason, without any value of the message."""


class AmbiguousJob(WarrenError):  # noqa: N818  # see StoreUnavailable
    """A shortened job id fits more than one job."""
