"""The command line of `amqpd bench`."""

from __future__ import annotations

import json

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from amqpd.cli.bench import Options, bench_command, summary
from amqpd.cli.load.report import Measured, Totals, summarize

RUNNER = CliRunner()
# Nothing listens there: the load ends where it would begin.
NOWHERE = ["--port", "1", "--timeout", "1"]


def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(bench_command)
    return made


def test_every_option_is_explained() -> None:
    result = RUNNER.invoke(app(), ["--help"], env={"COLUMNS": "150"})
    assert result.exit_code == 0
    for option in ("--uri", "--producers", "--queue-arg", "--routing-key", "--confirm", "--ack-every", "--json"):
        assert option in result.output


def test_numbers_with_k_and_m_become_settings() -> None:
    arguments = [
        "--size",
        "2k",
        "--count",
        "1M",
        "--rate",
        "1.5k",
        "--queue-arg",
        "a=1",
        "--queue-arg",
        "b=x",
        "--json",
    ]
    options = Options(**typer.main.get_command(app()).make_context("bench", arguments).params)
    assert (options.size, options.count, options.rate) == (2000, 1_000_000, 1500.0)
    assert options.queue_arguments == {"a": 1, "b": "x"}
    assert options.as_json


@pytest.mark.parametrize(
    "arguments", [["--size", "12x"], ["--drain", "--consumers", "0"], ["--queue-arg", "a"], ["--no"]]
)
def test_wrong_command_line_is_exit_code_2(arguments: list[str]) -> None:
    assert RUNNER.invoke(app(), arguments).exit_code == 2


def test_broker_that_is_not_there_is_one_sentence_and_exit_code_1() -> None:
    result = RUNNER.invoke(app(), NOWHERE)
    assert result.exit_code == 1
    assert result.stderr.startswith("amqpd bench: control connection: cannot connect to 127.0.0.1:1: ")
    assert result.stderr.count("\n") == 1


def test_json_has_the_error_when_there_is_no_result() -> None:
    result = RUNNER.invoke(app(), [*NOWHERE, "--json", "--label", "x"])
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["label"] == "x"
    assert "cannot connect" in report["error"]


def test_summary_names_what_went_wrong() -> None:
    measured = Measured(end=Totals(published_count=1234, returned_count=7, out_of_order_count=2), timed_out=True)
    options = Options(verify=True)
    console = Console(width=120)
    with console.capture() as capture:
        console.print(summary(options, summarize(options, measured)))
    text = capture.get()
    assert "1,234" in text
    assert "returned   7" in text
    assert "2 out of order" in text
    assert "--linger" in text
