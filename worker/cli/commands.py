"""The group `warren`, with its commands in the order of their use."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final

import click

from worker import garbage

# Where each command stands. It is imported when it is asked for: a worker starts without what only others need.
_MODULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "worker": "worker.cli.serve",
        "submit": "worker.cli.submit",
        "batch": "worker.cli.batch",
        "result": "worker.cli.ask",
        "cancel": "worker.cli.ask",
        "status": "worker.cli.look",
        "lane": "worker.cli.lane",
        "dead": "worker.cli.dead",
        "explain": "worker.cli.look",
        "spend": "worker.cli.spend",
        "topology": "worker.cli.shape",
        "check-config": "worker.cli.serve",
        "doctor": "worker.cli.doctor.command",
    }
)


class _InOrder(click.Group):
    """Lists commands in the order of their use, and imports them one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        module = _MODULES.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(import_module(module), cmd_name.replace("-", "_"))
        garbage.keep()
        return command


@click.group(cls=_InOrder, no_args_is_help=True, context_settings={"max_content_width": 100})
def warren() -> None:
    """A durable queue in front of LLM APIs.

    Producers submit requests to RabbitMQ, workers answer them, and what fails for good waits in a dead-letter
    queue to be replayed. Every command has its own --help with examples.
    """
