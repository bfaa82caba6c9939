"""`amqpd log verify|stat|dump|lost|parked DIR`: is the log what was written, what is in it, its records, what was given up,
and what was put aside.

Owns the commands and their exit codes. Does not own the walk (log_survey.py), nor what a record or a table looks like
(log_records.py, log_stat.py). Nothing here takes the lock or changes a file: a broker may be at work in DIR.

    0  no damage (verify), or all was printed        1  damage        2  something can't be read
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from amqpd.base.errors import UnknownFormat
from amqpd.cli.log_parked import parked_entries, parked_line
from amqpd.cli.log_records import Dump, lost_line
from amqpd.cli.log_stat import Stat
from amqpd.cli.log_survey import EXIT_UNREADABLE, CannotLook, Survey, counted, progress
from amqpd.runtime.lost import read_lost
from amqpd.store.inspect import Chain
from amqpd.store.topology import Topology

app = typer.Typer(
    no_args_is_help=True,
    help="Look into the log of a data directory. Nothing is changed, and a broker may be at work in it.",
)
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="the data directory, as in amqpd serve --data-dir")]


def survey(directory: Path) -> Survey:
    try:
        return Survey(directory)
    except CannotLook as error:
        say(f"amqpd log: {error}")
        raise typer.Exit(EXIT_UNREADABLE) from None


def say(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")


@app.command("verify")
def verify_command(directory: Directory) -> None:
    """Read every segment and checkpoint: headers, checksums, chain, records, and what a start would miss.

    One line per problem. Exit codes: 0 no damage, 1 damage, 2 something can't be read. What a crash left unfinished at the
    end of the log is said, and is no damage.
    """
    found = survey(directory)
    found.walk()
    for sentence in [*found.problems, *(f"can't read {each}" for each in found.unreadable), *found.notices]:
        print(sentence)
    parts = [
        counted(len(found.segments), "segment"),
        counted(sum(int(each.size_bytes) for each in found.segments), "byte"),
        counted(sum(int(each.batch_count) for each in found.segments), "batch"),
        counted(sum(int(each.record_count) for each in found.segments), "record"),
        counted(len(found.checkpoints), "checkpoint"),
    ]
    verdict = counted(len(found.problems), "problem") if found.problems else "no damage"
    if found.unreadable:
        verdict += f", {len(found.unreadable)} not read"
    print(f"{verdict}: {', '.join(parts)}")
    raise typer.Exit(found.exit_code)


@app.command("stat")
def stat_command(
    directory: Directory,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object instead of tables")] = False,
) -> None:
    """Tables of segments, checkpoints and queues, with what is live after a replay, as a start would do it."""
    found = survey(directory)
    found.walk()
    stat = Stat(found.snapshot, found.segments, found.checkpoints, found.recovered, found.topology)
    stat.print_json() if as_json else stat.print_tables()
    for sentence in [*found.problems, *(f"can't read {each}" for each in found.unreadable), *found.notices]:
        say(sentence)
    raise typer.Exit(found.exit_code)


@app.command("lost")
def lost_command(
    directory: Directory,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, as they stand in lost.jsonl")] = False,
) -> None:
    """What was damaged and therefore given up, ever since the directory was made: one line per message.

    The broker keeps the list in DIR/lost.jsonl, and the damaged segments beside the others as .bad; whoever is done with
    them may delete them.
    """
    try:
        lost, bad_count = read_lost(directory)
    except OSError as error:
        say(f"amqpd log: {error.filename}: {error.strerror}")
        raise typer.Exit(EXIT_UNREADABLE) from None
    for each in lost:
        print(json.dumps(each) if as_json else lost_line(each))
    if bad_count:
        say(f"{counted(bad_count, 'line')} of lost.jsonl can't be read")


@app.command("parked")
def parked_command(
    directory: Directory,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, with headers and bodies in base64")] = False,
) -> None:
    """Messages that something went wrong with: kept in their queues and given to nobody, until the queue is purged.

    What went wrong stands in the broker's log, with the message's number.
    """
    found = survey(directory)
    found.walk()
    for queue_id, entry in parked_entries(found.recovered):
        print(parked_line(found.names.get(queue_id, f"queue_id {queue_id}"), entry, as_json))
    for sentence in [*(f"can't read {each}" for each in found.unreadable), *found.notices]:
        say(sentence)
    raise typer.Exit(EXIT_UNREADABLE if found.unreadable else 0)


@app.command("dump")
def dump_command(
    directory: Directory,
    segment: Annotated[int, typer.Option(metavar="N", help="only this segment; 0: all", min=0)] = 0,
    queue: Annotated[str, typer.Option(metavar="NAME", help="only records that name this queue")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, with headers and bodies in base64")] = False,
    limit: Annotated[int, typer.Option(metavar="N", help="stop after so many records; 0: never", min=0)] = 0,
) -> None:
    """The records of the log, one line each, in the order in which they were written."""
    found = survey(directory)
    for sentence in [*found.problems, *found.unreadable, *found.notices]:
        say(sentence)
    numbers = found.snapshot.segment_numbers()
    if segment:
        if segment not in numbers:
            say(f"amqpd log: there is no segment {segment} in {directory}")
            raise typer.Exit(EXIT_UNREADABLE)
        numbers = [segment]
    queue_ids = queue_ids_of(queue, found.topology)
    if queue and not queue_ids:
        say(f"amqpd log: no queue called '{queue}' is known in {directory}")
        raise typer.Exit(EXIT_UNREADABLE)
    dump = Dump(found.names, queue_ids, as_json, limit)
    raise typer.Exit(_dump(found, dump, numbers))


def _dump(found: Survey, dump: Dump, numbers: list[int]) -> int:
    snapshot = found.snapshot
    chain = Chain()
    sizes = {number: snapshot.segment_size(number) for number in numbers}
    # On a terminal the lines themselves show that it goes on.
    with progress("reading", 0 if sys.stdout.isatty() else sum(sizes.values())) as advance:
        for number in numbers:
            try:
                data = snapshot.read(number, 0, sizes[number])
                if not dump.segment(data, found.log_id, number, chain):
                    break
            except UnknownFormat as error:
                found.unreadable.append(str(error))
            except BrokenPipeError:
                # Whoever reads has seen enough; nothing more may be flushed into the closed pipe at exit.
                sys.stdout = None
                break
            except OSError as error:
                found.unreadable.append(f"{error.filename}: {error.strerror}")
            else:
                advance(sizes[number])
                continue
            chain.is_known = False
            say(f"can't read {found.unreadable[-1]}")
    return EXIT_UNREADABLE if found.unreadable else 0


def queue_ids_of(name: str, topology: Topology | None) -> dict[int, None]:
    """Queues of that name in any vhost; without one, a number is a queue_id. Empty for an empty name."""
    queues = topology.queues if topology is not None else []
    found: dict[int, None] = {int(queue.queue_id): None for queue in queues if queue.name == name and name}
    if not found and name.isdigit():
        found[int(name)] = None
    return found
