"""How many jobs one worker works on at once at most: as many were measured (`./dev bench memory`)."""

from typing import Final

MOST_JOBS_OF_A_LANE: Final = 10_000
MOST_JOBS: Final = 20_000
