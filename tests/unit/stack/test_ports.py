import argparse
import socket

import pytest

from stack.arguments import positive
from stack.ports import free_port, keep_ports


def test_a_living_workers_port_is_kept_although_it_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken = listening.getsockname()[1]
        assert keep_ports([taken], [True], 1) == (taken,)


def test_a_port_that_somebody_else_took_meanwhile_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken = listening.getsockname()[1]
        (chosen,) = keep_ports([taken], [False], 1)
        assert chosen != taken


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_there_are_as_many_ports_as_asked_for_and_none_twice(count: int) -> None:
    last = [free_port(set()), free_port({0})]
    kept = keep_ports(last, [True, True], count)
    assert len(set(kept)) == len(kept) == count
    assert list(kept[:2]) == last[:count]


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "two", "", "²"])
def test_what_is_no_positive_number_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
        positive(text)


def test_a_positive_number_is_read() -> None:
    assert positive("12") == 12
