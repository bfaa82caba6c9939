"""The command line with everything in it: one typer app, one file per command group.

Owns the list of commands. `serve` is only named here, for the help: __main__.py runs it without typer.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from amqpd import __version__
from amqpd.cli.bench import bench_command
from amqpd.cli.log import app as log_app
from amqpd.cli.serve import serve_command

app = typer.Typer(
    name="amqpd",
    help="A message broker that speaks AMQP 0-9-1, a drop-in for RabbitMQ.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"amqpd {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(
    "serve",
    help="Run the broker in the foreground.",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def serve_named(context: typer.Context) -> None:
    sys.exit(serve_command(context.args))


app.command("bench", help="Load any AMQP broker and say how fast it was.")(bench_command)
app.add_typer(log_app, name="log")
