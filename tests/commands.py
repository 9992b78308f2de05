"""The commands of `warren`, which imports each only when it is asked for."""

import click

from worker.cli.commands import warren


def every() -> dict[str, click.Command]:
    """Give every command by its name, in the order in which they are listed."""
    context = click.Context(warren)
    found = {name: warren.get_command(context, name) for name in warren.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}
