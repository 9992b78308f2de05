"""The command `warren`, run as an operator of a stage would run it."""

import asyncio
import os
import sys

from tests.faults.stage import Stage
from tests.faults.vhost import ROOT


async def started(stage: Stage, *arguments: str, piped: bool = False) -> asyncio.subprocess.Process:
    """Start `warren`; `piped`: its standard input is the caller's to write."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "worker.cli.main",
        *arguments,
        cwd=ROOT,
        env={
            **os.environ,
            "WARREN_CONFIG": str(stage.config),
            "WARREN_URL": stage.vhost.url("producer"),
            "WARREN_OPERATOR_URL": stage.vhost.url("operator"),
            "WARREN_MANAGEMENT_URL": stage.vhost.management,
        },
        stdin=asyncio.subprocess.PIPE if piped else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def warren(stage: Stage, *arguments: str, status: int = 0, errors: bool = False) -> str:
    """Run `warren` and give what it printed, or its errors; its exit status must be `status`."""
    process = await started(stage, *arguments)
    output, complaints = await process.communicate()
    assert process.returncode == status, complaints.decode()
    return (complaints if errors else output).decode()
