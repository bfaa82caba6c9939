"""`amqpd bench`: load any AMQP 0-9-1 broker and say how fast it was.

Owns: what is printed and the exit code. Does not own the options, which are the fields of Settings, nor the load.
Exit codes: 0 the run ended, 1 it could not go on, 2 the command line is wrong.
"""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_type_hints

import typer
from rich.console import Console
from rich.table import Table

from amqpd.cli.load import LoadError
from amqpd.cli.load.live import describe_latency, run_load, run_with_view
from amqpd.cli.load.settings import Settings

HELP = """Load any AMQP 0-9-1 broker and say how fast it was.

Numbers may end in k or M; options with K=V or KEY may be repeated. A latency is the time from publishing a message
to reading it; in a run without --rate it is mostly queueing.
"""


@dataclass(frozen=True, kw_only=True)
class Options(Settings):
    as_json: Annotated[
        bool, typer.Option("--json", help="one line of JSON on stdout, nothing else", rich_help_panel="Output")
    ] = False
    quiet: Annotated[bool, typer.Option("--quiet", help="no live view", rich_help_panel="Output")] = False


def bench_command(**given: Any) -> None:
    try:
        options = Options(**given)
    except LoadError as error:
        raise typer.BadParameter(str(error)) from None
    raise typer.Exit(run_and_print(options))


def signature() -> inspect.Signature:
    """The fields of the dataclass are the parameters of the command: each option is written down once."""
    hints = get_type_hints(Options, include_extras=True)
    return inspect.Signature(
        [
            inspect.Parameter(
                each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name]
            )
            for each in fields(Options)
            if each.init
        ]
    )


bench_command.__signature__ = signature()  # type: ignore[attr-defined]
bench_command.__doc__ = HELP


def run_and_print(options: Options) -> int:
    console = Console()
    try:
        if options.as_json or options.quiet or not console.is_terminal:
            result = run_load(options)
        else:
            result = run_with_view(options, console)
    except LoadError as error:
        if options.as_json:
            write_json({"label": options.label, "error": str(error)})
        Console(stderr=True).print(f"amqpd bench: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    if options.as_json:
        write_json(result)
    else:
        console.print(summary(options, result))
    return 0


def write_json(result: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


def summary(settings: Settings, result: dict[str, object]) -> Table:
    """The result for people."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    if settings.producers:
        confirmed = f", {result['confirmed']:,} confirmed" if settings.confirm else ""
        table.add_row("published", f"{result['published']:,}{confirmed}, {result['publish_rate']:,.0f}/s")
    if settings.consumers:
        table.add_row("delivered", f"{result['delivered']:,}, {result['deliver_rate']:,.0f}/s, {result['left']:,} left")
    for key, title in (("latency_us", "latency"), ("confirm_us", "confirm")):
        figures = result.get(key)
        if isinstance(figures, dict):
            table.add_row(title, describe_latency(figures))
    if settings.verify:
        table.add_row("order", f"{result['out_of_order']} out of order, {result['gaps']} gaps")
    for key in ("nacked", "returned", "redelivered", "blocked"):
        if result[key]:
            table.add_row(key, f"{result[key]:,}")
    usage = f"load {result['client_cpu_pct']} % of a core"
    if settings.pid:
        usage += f", broker {result['broker_cpu_pct']} %, {result['broker_rss_max_mb']} MiB resident at most"
    table.add_row("machine", usage)
    if "interpreted" in str(result["generator"]):
        table.add_row("note", "the load generator runs interpreted and may be slower than the broker")
    if result["timeout"]:
        table.add_row("note", "not everything came before --linger was over", style="red")
    return table


def main() -> None:
    app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})
    app.command()(bench_command)
    app(prog_name="amqpd bench")


if __name__ == "__main__":
    main()
