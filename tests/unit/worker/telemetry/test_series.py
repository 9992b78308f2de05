"""Which child of a metric a value finds, and what is kept of values that nobody expects."""

from worker.telemetry.series import OTHER, Series


def series() -> Series[str]:
    return Series(
        lambda *values: "/".join(values),
        [("premium", "main", "gpt"), ("premium", "spare", "gpt")],
    )


def test_what_is_expected_has_a_child_of_its_own() -> None:
    assert series()["premium", "spare", "gpt"] == "premium/spare/gpt"


def test_a_value_that_nobody_expects_is_other_with_as_few_others_as_possible() -> None:
    found = series()
    for _ in range(2):
        assert found["premium", "main", "unheard-of"] == f"premium/main/{OTHER}"
        assert found["bargain", "main", "gpt"] == f"{OTHER}/{OTHER}/{OTHER}"


def test_an_unexpected_model_that_comes_again_is_not_searched_for_again() -> None:
    found = series()
    for _ in range(9):
        assert found["premium", "main", "unheard-of"] == f"premium/main/{OTHER}"
    assert found.fallback.cache_info().misses == 1


def test_whoever_makes_models_up_gets_no_room() -> None:
    found = series()
    for number in range(5000):
        assert found["premium", "main", f"model-{number}"] == f"premium/main/{OTHER}"
    assert found.fallback.cache_info().currsize <= 256
