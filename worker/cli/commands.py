"""The group `warren`, with its commands in the order of their use."""

import click

from worker.cli.ask import cancel, result
from worker.cli.batch import batch
from worker.cli.dead import dead
from worker.cli.doctor.command import doctor
from worker.cli.lane import lane
from worker.cli.look import explain, status
from worker.cli.serve import check_config, worker
from worker.cli.shape import topology
from worker.cli.spend import spend
from worker.cli.submit import submit


class _InOrder(click.Group):
    """Lists commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(self.commands)


@click.group(cls=_InOrder, no_args_is_help=True, context_settings={"max_content_width": 100})
def warren() -> None:
    """A durable queue in front of LLM APIs.

    Producers submit requests to RabbitMQ, workers answer them, and what fails for good waits in a dead-letter
    queue to be replayed. Every command has its own --help with examples.
    """


for command in (
    worker,
    submit,
    batch,
    result,
    cancel,
    status,
    lane,
    dead,
    explain,
    spend,
    topology,
    check_config,
    doctor,
):
    warren.add_command(command)
