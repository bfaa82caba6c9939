from __future__ import annotations

from typer.testing import CliRunner

from amqpd import __version__
from amqpd.cli.main import app


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for command in ("serve", "bench", "log"):
        assert command in result.output


def test_version_is_one_line() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"amqpd {__version__}\n"


def test_serve_in_the_app_takes_the_flags_of_serve() -> None:
    result = CliRunner().invoke(app, ["serve", "--amqp", "nowhere"])
    assert result.exit_code == 78
