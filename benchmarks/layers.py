"""Where a process's CPU went, by layer, from py-spy's folded stacks.

A sample belongs to the layer of its innermost frame that is of one: what the standard library does counts to its caller.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from benchmarks.bars import Bar
from benchmarks.grid import Grid

Stack = tuple[Sequence[str], int]

# Of a file's path the part that is the same on every machine.
_PLACE: Final = re.compile(r"\((?:.*/site-packages|.*/lib/python3[^/]*)(/[^()]*)\)$")

OTHER: Final = "other"
# A layer, and what the path of its files has; the first that fits counts.
LAYERS: Final = (
    ("AMQP library", ("/aiormq/", "/aio_pika/", "/pamqp/", "/pika/", "/amqp/", "/kombu/")),
    ("AMQP adapter", ("/worker/broker/", "/producer_sdk/")),
    (
        "HTTP library",
        ("/pyqwest/", "/httpx/", "/httpcore/", "/aiohttp/", "/requests/", "/urllib3/"),
    ),
    ("HTTP adapter", ("/worker/upstream/transport", "/worker/upstream/headers")),
    ("pool of endpoints", ("/worker/upstream/", "/worker/calling", "/worker/owncalls")),
    ("ledger and stores", ("/apsw/", "/worker/store", "/worker/settling", "/worker/unrecorded")),
    ("telemetry", ("/worker/telemetry/", "/structlog/", "/prometheus_client/")),
    (
        "money and limits",
        ("/worker/spending", "/worker/pricing", "/worker/ownlimits", "/genai_prices/"),
    ),
    ("core's decisions", ("/worker/core/",)),
    ("pipeline", ("/worker/",)),
    (
        "framework, pydantic",
        ("/faststream/", "/taskiq", "/celery/", "/dramatiq/", "/fast_depends/", "/pydantic"),
    ),
    ("the peer's own", ("/benchmarks/peers/",)),
    ("event loop", ("/asyncio/", "/uvloop/")),
)


def folded(text: str, root: str) -> list[Stack]:
    """Read folded stacks, "frame;frame;… count" a line, the outermost frame first; other lines are left out.

    Nothing of this machine stays in them: paths begin at `root` or a library, and the frames that tell a process's
    command line, where a password may be, go.
    """
    found: list[Stack] = []
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        if frames and count.isdigit():
            kept = [each for each in frames.split(";") if not each.startswith("process ")]
            found.append(([_tidy(each, root) for each in kept], int(count)))
    return found


def _tidy(frame: str, root: str) -> str:
    return _PLACE.sub(r"(\1)", frame).replace(f"({root}/", "(/")


def layer_of(frames: Sequence[str]) -> str:
    """Give the layer of a stack."""
    for frame in reversed(frames):
        for layer, parts in LAYERS:
            if any(part in frame for part in parts):
                return layer
    return OTHER


def by_layer(stacks: Iterable[Stack]) -> dict[str, int]:
    """Give the samples of each layer that has some, the most first."""
    found: Counter[str] = Counter()
    for frames, count in stacks:
        found[layer_of(frames)] += count
    return dict(found.most_common())


def grid(samples: dict[str, int], title: str, cpu_us_per_job: float) -> Grid:
    """Give the table of layers; the CPU of a job is shared out by the samples."""
    whole = sum(samples.values()) or 1
    return Grid(
        title=f"{title}: {whole:,} samples, {cpu_us_per_job:,.0f} us of CPU a job",
        heads=("layer", "share", "us a job"),
        rows=[
            (layer, f"{count / whole:.1%}", f"{count / whole * cpu_us_per_job:,.0f}")
            for layer, count in samples.items()
        ],
    )


def bars(samples: dict[str, int], cpu_us_per_job: float) -> list[Bar]:
    """Give a bar for each layer, in microseconds a job."""
    whole = sum(samples.values()) or 1
    values = {layer: count / whole * cpu_us_per_job for layer, count in samples.items()}
    return [
        Bar(label=layer, value=value, least=value, most=value, ours=True)
        for layer, value in values.items()
    ]
