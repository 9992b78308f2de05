"""What a demo plays, and how it ends."""

import argparse
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from producer_sdk import JobError, Reply
from stack.auditor import Findings
from stack.house import ROOT, TIERS, House
from stack.upstreams import Simulated, Upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The house of a demo, and what happens in it; `upstream` None: the simulators serve."""

    title: str
    play: Callable[[House, argparse.Namespace, Console], Coroutine[Any, Any, Findings]]
    simulators: tuple[Simulated, ...]
    config: str
    upstream: Upstream | None = None
    tiers: Mapping[str, int] = field(default_factory=lambda: TIERS)


def digest(heard: Reply | JobError) -> str:
    """Give what a journal notes of what was heard: two that differ are two answers."""
    body = heard.body if isinstance(heard, Reply) else f"{heard.kind} {heard.status}".encode()
    return hashlib.sha256(body).hexdigest()


def verdict(findings: Findings, console: Console, folder: Path) -> int:
    """Tell what the auditor found; 0: the promise was kept."""
    console.print(
        f"audit: {findings.accepted} accepted, {findings.replies} replies, {findings.calls} upstream calls; "
        f"late calls {len(findings.late_calls)}, unrecorded calls {len(findings.unrecorded_calls)}, "
        f"unheard {len(findings.unheard)}, differing replies {len(findings.differing)}"
    )
    console.print(f"[bold]lost {len(findings.lost)}[/bold]")
    if findings.clean:
        return 0
    where = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    console.print(f"the promise was broken; the logs are in {where}", style="red")
    return 1
