"""One walk over everything in a data directory, for `amqpd log`: what is in it, what is wrong, what can't be read.

Owns the order of the walk, the sentences and the progress bar. Does not own the check (store/verify.py), nor the files
(runtime/snapshot.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from amqpd.base.errors import Corrupt, UnknownFormat
from amqpd.runtime.files import DataDirectoryRefused
from amqpd.runtime.snapshot import NotADataDirectory, Snapshot
from amqpd.store.recovered import Recovered
from amqpd.store.topology import Topology
from amqpd.store.verify import CheckpointFigures, Problem, SegmentFigures, Verifier
from amqpd.vhosts.restore import resident_queue_ids

EXIT_DAMAGE: Final = 1
EXIT_UNREADABLE: Final = 2
# Below this it is over before a bar would be seen.
LONG_BYTES: Final = 256 << 20


class CannotLook(Exception):
    """One sentence: there is nothing to work on."""


class Survey:
    """One walk over everything in a data directory, and what came of it."""

    def __init__(self, path: Path) -> None:
        self.problems: list[str] = []
        self.unreadable: list[str] = []
        self.notices: list[str] = []
        self.segments: list[SegmentFigures] = []
        self.checkpoints: list[CheckpointFigures] = []
        self.recovered: Recovered | None = None
        try:
            self.snapshot = Snapshot(path)
        except (NotADataDirectory, OSError) as error:
            raise CannotLook(str(error)) from error
        if self.snapshot.is_in_use:
            self.notices.append("a broker is at work here: this is how it was at one moment")
        self.log_id = self._find_log_id()
        self.topology = self._find_topology()
        self.names = self.topology.queue_names() if self.topology is not None else {}

    def _find_log_id(self) -> int:
        try:
            return self.snapshot.log_id()
        except (DataDirectoryRefused, OSError) as error:
            said = self.snapshot.log_ids()
            if len(said) != 1:
                raise CannotLook(str(error)) from error
            why = error.strerror if isinstance(error, OSError) else str(error)
            self.problems.append(f'identity.json: {why}; by the log it was {{"format": 1, "log_id": {said[0]}}}')
            return said[0]
        except UnknownFormat as error:
            raise CannotLook(str(error)) from error

    def _find_topology(self) -> Topology | None:
        try:
            topology = self.snapshot.topology()
            self.problems += topology.set_aside
            return topology
        except (Corrupt, FileNotFoundError) as error:
            why = error.why if isinstance(error, Corrupt) else "it is gone"
            self.problems.append(f"topology.sqlite: {why}; which queues there are is not known")
        except (UnknownFormat, OSError) as error:
            self.unreadable.append(f"topology.sqlite: {error}")
        return None

    def walk(self) -> None:
        snapshot = self.snapshot
        verifier = Verifier(snapshot, self.log_id, snapshot.clean_position, self.names)
        self._try(partial(self._read_checkpoints, verifier))
        numbers = snapshot.segment_numbers()
        total = sum(snapshot.segment_size(number) for number in numbers)
        with progress("reading", total) as advance:
            for number in numbers:
                if not self._try(partial(self._read_segment, verifier, number)):
                    verifier.unreadable()
                advance(snapshot.segment_size(number))
        verifier.end()
        if self.topology is not None and not self.unreadable:
            self._try(partial(self._replay, verifier, self.topology))
        self.problems += [self._sentence(problem) for problem in verifier.problems]
        self.notices += verifier.notices

    def _read_checkpoints(self, verifier: Verifier) -> None:
        self.checkpoints = verifier.checkpoints()

    def _read_segment(self, verifier: Verifier, number: int) -> None:
        self.segments.append(verifier.segment(number))

    def _replay(self, verifier: Verifier, topology: Topology) -> None:
        self.recovered = verifier.replay(topology.queue_ids(), resident_queue_ids(topology), topology.version)

    def _try(self, step: Callable[[], object]) -> bool:
        try:
            step()
        except UnknownFormat as error:
            self.unreadable.append(str(error))
        except OSError as error:
            self.unreadable.append(f"{error.filename}: {error.strerror}")
        else:
            return True
        return False

    def _sentence(self, problem: Problem) -> str:
        path: Path | None = None
        if problem.place == "segment":
            path = self.snapshot.segment_path(problem.number)
        elif problem.place == "checkpoint":
            path = self.snapshot.checkpoint_path(problem.number)
        if path is None:
            return f"log: {problem.what}"
        at = f", byte {problem.offset}" if problem.offset >= 0 else ""
        return f"{path.relative_to(self.snapshot.path)}{at}: {problem.what}"

    @property
    def exit_code(self) -> int:
        if self.unreadable:
            return EXIT_UNREADABLE
        return EXIT_DAMAGE if self.problems else 0


def counted(count: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("ch") else "s")
    return f"{count:,} {noun if count == 1 else plural}"


@contextmanager
def progress(what: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal if the work is long; yields what to call with the bytes that are done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    is_shown = console.is_terminal and total_bytes >= LONG_BYTES
    with Progress(*columns, console=console, transient=True, disable=not is_shown) as bar:
        task = bar.add_task(what, total=total_bytes)
        yield lambda done: bar.advance(task, done)
