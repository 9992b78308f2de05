from typing import get_args

from tests.unit.worker.telemetry.samples import CANARY, HandClock, Paper, every_event, trouble
from worker.core.events import Event, StepReached, Trouble
from worker.telemetry.fanout import Fanout
from worker.telemetry.logs import Logs
from worker.telemetry.metrics import Metrics


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


class Choosy:
    """Hears of troubles alone, and says so."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self.hears = {Trouble: self.heard.append}

    def tell(self, event: Event) -> None:
        raise AssertionError(event)


def test_a_listener_that_chooses_is_told_what_it_hears_and_nothing_else() -> None:
    choosy, ear = Choosy(), Ear()
    fanout = Fanout(choosy, ear)
    for event in every_event():
        fanout.tell(event)
    assert choosy.heard == [event for event in every_event() if isinstance(event, Trouble)]
    assert ear.heard == every_event()


def test_logs_and_metrics_hear_every_kind_of_event_but_steps() -> None:
    clock = HandClock()
    logs, metrics = Logs(Paper(clock).sink, clock), Metrics({}, clock)
    heard = {*logs.hears, *metrics.hears}
    assert {StepReached, *heard} == set(get_args(Event)) == {type(each) for each in every_event()}


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
