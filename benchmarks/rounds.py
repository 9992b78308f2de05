"""The rounds of one measurement after the other, each told as soon as it is done; those of one upstream share what stands."""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import profiles, publishing
from benchmarks.contestants import Publisher
from benchmarks.figures import Figures, interleaved
from benchmarks.folder import in_folder
from benchmarks.measurements import Entrant, Task, by_upstream
from benchmarks.race import run
from benchmarks.remaining import Plan, said
from benchmarks.yard import Yard, set_up
from stack.errors import StackError

Found = Mapping[str, Sequence[Figures]]
Done = Callable[[Task, Found], None]


def progress(text: str) -> None:
    """Tell how far it is, beside the results."""
    print(f"  {text}", file=sys.stderr, flush=True)


def run_all(tasks: Sequence[Task], options: argparse.Namespace, done: Done) -> None:
    """Run every task and call `done` after each.

    Raises:
        StackError: broker or simulator did not come up.
    """
    progresses = Progress(tasks)
    for group in by_upstream(tasks):

        async def measured(
            folder: Path, options: argparse.Namespace, group: list[Task] = group
        ) -> None:
            yard = await asyncio.to_thread(
                set_up,
                folder,
                latency=group[0].sizes.upstream,
                simulators=options.simulators,
                tell=progress,
            )
            progresses.stands()
            for task in group:
                done(task, await _rounds(task, yard, progresses))
                progresses.task_is_done()

        in_folder("bench", measured, options)


class Progress:
    """Tells after each run what it gave and how long the rest takes about."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._plan = Plan(about_s=[task.about_s for task in tasks])
        self._began: float | None = None
        self._done = 0
        progress(f"{len(tasks)} measurements, about {said(sum(self._plan.about_s))}")

    def stands(self) -> None:
        """Begin to count, now that everything is there: making it the first time says nothing of how long the runs take."""
        self._began = self._began or time.monotonic()

    def task_is_done(self) -> None:
        """Count a task that is done."""
        self._done += 1

    def tell(self, text: str, share: float) -> None:
        """Tell something when this share of the task is done."""
        done = self._done + min(share, 0.999)
        now = time.monotonic()
        left = self._plan.left_s(done, now - (self._began or now))
        progress(f"{text}; about {said(left)} left")


async def _rounds(task: Task, yard: Yard, progresses: Progress) -> Found:
    """Run all rounds of a task; an entrant that fails is told, and left out from then on."""
    by_key = {each.key: each for each in task.entrants}
    found: dict[str, list[Figures]] = {key: [] for key in by_key}
    runs, count = len(by_key) * task.sizes.rounds, 0
    for number, order in enumerate(interleaved(list(by_key), task.sizes.rounds), start=1):
        for key in order:
            count += 1
            if key not in found:
                continue
            entrant = by_key[key]
            try:
                figures = await _one(entrant, yard)
            except StackError as error:
                del found[key]
                progress(f"LEFT OUT: {error}")
                continue
            found[key].append(figures)
            progresses.tell(
                f"{task.name}, round {number} of {task.sizes.rounds}: {key} {figures.jobs_per_s:,.0f} jobs/s, "
                f"{figures.cpu_us_per_job:,.0f} us/job",
                count / runs,
            )
    return found


async def _one(entrant: Entrant, yard: Yard) -> Figures:
    if isinstance(entrant.contestant, Publisher):
        await asyncio.to_thread(yard.purge)
        url = yard.house.url("producer")
        return await publishing.measured(entrant.contestant.name, url, entrant.course.jobs)
    figures = await run(entrant.contestant, yard, entrant.course)
    if entrant.course.profile is not None:
        paths = profiles.described(entrant.course.profile, entrant.title, figures.cpu_us_per_job)
        progress(f"profile: {', '.join(map(str, paths)) or 'no sample was taken'}")
    return figures
