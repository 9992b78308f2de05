"""What operations share: each row is read once and written once, however many want it in one transaction or the next."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Protocol, TypeAlias, TypeVar

import apsw

from worker.core.model import Completed
from worker.store import outcomes
from worker.store.embedded.ahead import Ahead

# What is known grows with each operation. So many leave some megabytes.
_MOST_OPERATIONS: Final = 16_384


class Page(Protocol):
    """Some tables' rows as transactions have read and changed them.

    `lasts`: whether it is kept for the next transaction, unless somebody else writes until then.
    """

    lasts: ClassVar[bool]

    def write(self) -> None:
        """Write what was changed; it is not written twice."""
        ...

    def forget(self) -> None:
        """Read all anew when it is looked for next."""
        ...


class LookingAhead(Page, Protocol):
    """A page that reads what operations of one transaction will look for, for all of them at once."""

    def look_ahead(self, wanted: Sequence[Ahead]) -> None:
        """Read what several operations will look for and is not known; before the first of them."""
        ...


P = TypeVar("P", bound=Page)
PageKind: TypeAlias = Callable[[apsw.Connection], LookingAhead]


class Books:
    """What one connection knows of the tables, as long as each of its transactions is committed.

    Each transaction begins with `turn`, after which nothing is known that another connection may have changed. Whoever
    works with a page finds what the others have changed there. Whoever works with the tables themselves asks for
    `straight`, and then finds all of it written. `afterwards` is done in the event loop after the commit.
    """

    __slots__ = (
        "_looking",
        "_operations",
        "_pages",
        "_raw",
        "_version",
        "_written",
        "afterwards",
        "facts",
    )

    def __init__(self, connection: apsw.Connection, looking: Sequence[PageKind] = ()) -> None:
        """Open them. `looking` are the pages that look ahead."""
        self._raw = connection
        self._looking = looking
        self._pages: dict[Any, Any] = {}
        self._version: object = None
        self._operations = 0
        self._written: tuple[Completed, str, bytes] | None = None
        self.afterwards: list[Callable[[], None]] = []
        self.facts: Any = None  # the ledger's own: see `transaction`

    def turn(self, operations: int) -> None:
        """Begin with another transaction, of so many operations; it is open."""
        self.afterwards = []
        self.facts = None
        # It changes with each commit of another connection, and with none of our own. To read it begins the snapshot.
        version = self._raw.execute("PRAGMA data_version").get
        self._operations += operations
        if version != self._version or self._operations > _MOST_OPERATIONS:
            self._version, self._operations = version, operations
            self._pages = {}
        else:
            self._pages = {kind: page for kind, page in self._pages.items() if page.lasts}

    def page(self, kind: Callable[[apsw.Connection], P]) -> P:
        """Give the page of a kind."""
        page: P | None = self._pages.get(kind)
        if page is None:
            page = self._pages[kind] = kind(self._raw)
        return page

    def look_ahead(self, wanted: Sequence[Ahead]) -> None:
        """Read what the operations of this transaction will look for, before the first of them."""
        for kind in self._looking:
            self.page(kind).look_ahead(wanted)

    def written(self, completed: Completed) -> tuple[str, bytes]:
        """Give all of a response but its body as text, and its body's checksum: ledger and cache write the same."""
        if self._written is None or self._written[0] is not completed:
            checksum = hashlib.sha256(completed.body).digest()
            self._written = (completed, outcomes.about(completed), checksum)
        return self._written[1:]

    def straight(self) -> apsw.Connection:
        """Give the connection, with all written; what is read and changed by it comes anew into the pages.

        So it is to be asked for again after a look at a page.
        """
        for page in self._pages.values():
            page.write()
            page.forget()
        return self._raw

    def reading(self) -> apsw.Connection:
        """Give the connection, with all written, to read by it alone: what is known stays."""
        self.write()
        return self._raw

    @property
    def aside(self) -> apsw.Connection:
        """Give the connection as it is: for tables of which there is no page."""
        return self._raw

    def write(self) -> None:
        """Write all that was changed."""
        for page in self._pages.values():
            page.write()

    def end(self) -> list[Callable[[], None]]:
        """Give what is to be done afterwards, and let go of it, of the facts and of the last response.

        The first two lead back here. With that circle each transaction would keep all its rows and bodies until the next look
        for cyclic garbage, and that would have to look often.
        """
        afterwards, self.afterwards, self.facts = self.afterwards, [], None
        self._written = None
        return afterwards
