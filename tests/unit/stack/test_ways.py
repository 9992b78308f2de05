from dataclasses import replace

import pytest

from stack.ways import Facts, Way, way

NOTHING = Facts(url=False, installed=False, unpacked=False, apt=False, docker=False)


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ((), Way.NONE),
        (("docker",), Way.DOCKER),
        (("apt",), Way.PACKAGES),
        (("apt", "docker"), Way.PACKAGES),
        (("unpacked", "apt", "docker"), Way.UNPACKED),
        (("installed", "unpacked", "apt", "docker"), Way.INSTALLED),
        (("url", "installed", "unpacked", "apt", "docker"), Way.URL),
        (("url",), Way.URL),
        (("installed", "docker"), Way.INSTALLED),
    ],
)
def test_the_first_way_that_there_is_is_taken_and_docker_last(
    found: tuple[str, ...], chosen: Way
) -> None:
    assert way(replace(NOTHING, **dict.fromkeys(found, True))) is chosen
