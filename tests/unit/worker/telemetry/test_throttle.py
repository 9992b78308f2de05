from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.telemetry.samples import HandClock
from worker.telemetry.throttle import Throttle


def test_the_first_lines_of_a_period_pass_and_the_next_period_tells_how_many_did_not() -> None:
    clock = HandClock()
    throttle = Throttle(clock, burst=2, period_s=60)
    assert [throttle.take("a") for _ in range(5)] == [0, 0, None, None, None]
    assert throttle.take("b") == 0
    clock.seconds += 60
    assert throttle.take("a") == 3
    assert throttle.take("a") == 0


def test_the_end_of_a_storm_is_told_once() -> None:
    clock = HandClock()
    throttle = Throttle(clock, burst=1, period_s=60)
    for _ in range(3):
        throttle.take("a", "x")
    throttle.take("b")
    assert throttle.sweep() == []
    clock.seconds += 60
    assert throttle.sweep() == [(("a", "x"), 2)]
    assert throttle.sweep() == []


@given(st.lists(st.tuples(st.text(max_size=3), st.floats(0, 5)), max_size=300))
def test_every_line_is_written_or_counted(lines: list[tuple[str, float]]) -> None:
    clock = HandClock()
    throttle = Throttle(clock, burst=1, period_s=30)
    written = counted = 0
    for key, pause in lines:
        clock.seconds += pause
        taken = throttle.take(key)
        written += taken is not None
        counted += taken or 0
    clock.seconds += 30
    counted += sum(count for _, count in throttle.sweep())
    assert written + counted == len(lines)


def test_ever_new_lines_are_bounded_in_number_and_memory() -> None:
    clock = HandClock()
    throttle = Throttle(clock, burst=2)
    written = sum(throttle.take(str(number)) is not None for number in range(10_000))
    assert written <= 2 * 65
    assert len(throttle._allowances) <= 65
    clock.seconds += 60
    throttle.sweep()
    assert throttle.take("another") == 0
