"""What `import producer_sdk` gives, though it loads nothing until it is asked."""

import subprocess
import sys

import pytest

import producer_sdk


@pytest.mark.parametrize("name", producer_sdk.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(producer_sdk, name).__name__ == name
    assert name in dir(producer_sdk)


@pytest.mark.parametrize(
    "said",
    ["producer_sdk.errors.JobFailed", "producer_sdk.wire.Lane", "producer_sdk.client"],
)
def test_a_module_is_there_without_an_import_of_its_own(said: str) -> None:
    subprocess.run([sys.executable, "-c", f"import producer_sdk; {said}"], check=True)


def test_a_name_that_there_is_not_is_told_as_such() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nobody'"):
        getattr(producer_sdk, "Nobody")  # noqa: B009  # a type checker knows better
