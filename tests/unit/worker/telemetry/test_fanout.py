from tests.unit.worker.telemetry.samples import CANARY, every_event, trouble
from worker.core.events import Event, Trouble
from worker.telemetry.fanout import Fanout


class Ear:
    def __init__(self) -> None:
        self.heard: list[Event] = []

    def tell(self, event: Event) -> None:
        self.heard.append(event)


class Broken(Ear):
    def tell(self, event: Event) -> None:
        super().tell(event)
        raise RuntimeError(CANARY)


def test_every_listener_hears_every_event_in_order() -> None:
    first, second = Ear(), Ear()
    fanout = Fanout(first, second)
    for event in every_event():
        fanout.tell(event)
    assert first.heard == second.heard == every_event()


def test_a_listener_that_raises_is_told_nothing_more_and_the_others_hear_of_it() -> None:
    before, broken, after = Ear(), Broken(), Ear()
    fanout = Fanout(before, broken, after)
    fanout.tell(trouble("first"))
    fanout.tell(trouble("second"))
    assert broken.heard == [trouble("first")]
    assert before.heard == after.heard
    first, dropped, second = after.heard
    assert (first, second) == (trouble("first"), trouble("second"))
    assert isinstance(dropped, Trouble)
    assert (dropped.about, dropped.error) == ("Broken", "RuntimeError")
    assert CANARY not in repr(dropped)


def test_several_broken_listeners_do_not_harm_the_line_or_each_other() -> None:
    ear = Ear()
    fanout = Fanout(Broken(), Broken(), ear)
    fanout.tell(trouble())
    assert len(ear.heard) == 3
    alone = Fanout(Broken())
    alone.tell(trouble())
    alone.tell(trouble())
