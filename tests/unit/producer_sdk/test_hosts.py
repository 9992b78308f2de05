import pytest

from producer_sdk.hosts import one_each


@pytest.mark.parametrize(
    ("url", "each"),
    [
        ("amqp://u:p@one/v", ["amqp://u:p@one/v"]),
        ("amqps://u:p@one,two:7,[::1]:8/v", ["one/v", "two:7/v", "[::1]:8/v"]),
        ("amqps://u:p,q@one/v", ["amqps://u:p,q@one/v"]),
        ("amqps://one, two/v?x=1", ["amqps://one/v?x=1", "amqps://two/v?x=1"]),
        ("amqps://u@one,,two/", ["amqps://u@one/", "amqps://u@/", "amqps://u@two/"]),
    ],
)
def test_each_host_has_a_url_that_differs_in_nothing_else(url: str, each: list[str]) -> None:
    found = one_each(url)
    assert len(found) == len(each)
    assert all(one.endswith(end) for one, end in zip(found, each, strict=True))
    assert all(one.startswith(url[:6]) for one in found)
