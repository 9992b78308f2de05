"""What the operations of one transaction share: each row is read once and written once, however many want it."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import apsw


class Page(Protocol):
    """Some tables' rows as a transaction has read and changed them."""

    def write(self) -> None:
        """Write what was changed; it is not written twice."""
        ...

    def forget(self) -> None:
        """Read all anew when it is looked for next."""
        ...


P = TypeVar("P", bound=Page)


class Books:
    """One run of one transaction. A repeated run gets new ones.

    Whoever works with a page finds what the others have changed there. Whoever works with the tables themselves asks for
    `straight`, and then finds all of it written. `afterwards` is done in the event loop after the commit.
    """

    __slots__ = ("_pages", "_raw", "afterwards", "facts")

    def __init__(self, connection: apsw.Connection) -> None:
        self._raw = connection
        self._pages: dict[Any, Any] = {}
        self.afterwards: list[Callable[[], None]] = []
        self.facts: Any = None  # the ledger's own: see `transaction`

    def page(self, kind: Callable[[apsw.Connection], P]) -> P:
        """Give this transaction's page of a kind."""
        page: P | None = self._pages.get(kind)
        if page is None:
            page = self._pages[kind] = kind(self._raw)
        return page

    def straight(self) -> apsw.Connection:
        """Give the connection, with all written; what is read and changed by it comes anew into the pages.

        So it is to be asked for again after a look at a page.
        """
        for page in self._pages.values():
            page.write()
            page.forget()
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
        """Give what is to be done afterwards, and let go of it and of the facts.

        Both lead back here. With that circle each transaction would keep all its rows and bodies until the next look
        for cyclic garbage, and that would have to look often.
        """
        afterwards, self.afterwards, self.facts = self.afterwards, [], None
        return afterwards
