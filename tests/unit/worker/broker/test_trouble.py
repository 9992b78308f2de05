from datetime import timedelta

from worker.broker.trouble import Troubles
from worker.core.events import Event, Trouble


class Ears:
    def __init__(self) -> None:
        self.heard: list[Event] = []

    def tell(self, event: Event) -> None:
        self.heard.append(event)


async def test_the_same_trouble_is_not_told_twice_in_a_row() -> None:
    ears = Ears()
    troubles = Troubles(ears, every=timedelta(hours=1))
    for _ in range(3):
        troubles.tell("publish", "a", "x")
        troubles.tell("publish", "b", "x")
    assert ears.heard == [
        Trouble(what="publish", about="a", error="x"),
        Trouble(what="publish", about="b", error="x"),
    ]


async def test_it_is_told_again_after_a_while() -> None:
    ears = Ears()
    troubles = Troubles(ears, every=timedelta())
    troubles.tell("publish", "a", "x")
    troubles.tell("publish", "a", "y")
    assert len(ears.heard) == 2
