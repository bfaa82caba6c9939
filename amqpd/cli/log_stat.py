"""`amqpd log stat`: the tables, and the same as JSON.

Owns what is shown. Does not own the figures: a walk over the log (store/verify.py) and a recovery that changed nothing made them.
"""

from __future__ import annotations

import json
import sys

from rich.console import Console
from rich.table import Table

from amqpd.runtime.snapshot import Snapshot
from amqpd.store.inspect import kind_name, queue_name
from amqpd.store.recovered import Recovered
from amqpd.store.topology import Topology
from amqpd.store.verify import CheckpointFigures, SegmentFigures

# A table in a file or a pipe need not fit a terminal.
WIDTH_ELSEWHERE = 200


class Stat:
    def __init__(
        self,
        snapshot: Snapshot,
        segments: list[SegmentFigures],
        checkpoints: list[CheckpointFigures],
        recovered: Recovered | None,
        topology: Topology | None,
    ) -> None:
        self._snapshot = snapshot
        self._segments = segments
        self._checkpoints = checkpoints
        self._recovered = recovered
        self._names = topology.queue_names() if topology is not None else {}
        # Messages and bytes that some queue holds, by segment.
        self._live = live_by_segment(segments, recovered)

    def queue_counts(self) -> dict[int, int]:
        if self._recovered is None:
            return {}
        counts = {queue_id: len(entries) for queue_id, entries in self._recovered.queues.items()}
        for queue_id, pages in self._recovered.pages.items():
            counts[queue_id] = counts.get(queue_id, 0) + sum(int(page.count) for page in pages)
        return counts

    def totals(self) -> dict[str, object]:
        size = sum(int(each.size_bytes) for each in self._segments)
        live_bytes = sum(live for _, live in self._live.values())
        return {
            "segments": len(self._segments),
            "size_bytes": size,
            "batches": sum(int(each.batch_count) for each in self._segments),
            "records": sum(int(each.record_count) for each in self._segments),
            "live_messages": sum(count for count, _ in self._live.values()),
            "live_bytes": live_bytes,
            "live_ratio": round(live_bytes / size, 4) if size else 0.0,
        }

    # JSON

    def print_json(self) -> None:
        found = {
            "segments": [self._segment(each) for each in self._segments],
            "checkpoints": [
                {
                    "generation": each.generation,
                    "size_bytes": each.size_bytes,
                    "is_intact": each.is_intact,
                    "segment": int(each.segment_number),
                    "offset": int(each.offset),
                    "position": int(each.position),
                    "entries": int(each.entry_count),
                }
                for each in self._checkpoints
            ],
            "queues": [
                {"queue_id": queue_id, "name": queue_name(self._names, queue_id), "messages": count}
                for queue_id, count in self.queue_counts().items()
            ],
            "totals": self.totals(),
            "kept_aside": self._snapshot.set_aside(),
        }
        sys.stdout.write(json.dumps(found) + "\n")

    def _segment(self, figures: SegmentFigures) -> dict[str, object]:
        live_count, live_bytes = self._live[figures.number]
        return {
            "number": figures.number,
            "size_bytes": int(figures.size_bytes),
            "batches": int(figures.batch_count),
            "records": {kind_name(kind): count for kind, count in sorted(figures.record_counts.items())},
            "live_messages": live_count,
            "live_bytes": live_bytes,
            "first_position": int(figures.first_position),
            "last_position": int(figures.last_position),
            "damaged_bytes": int(figures.damaged_bytes),
        }

    # Tables

    def print_tables(self) -> None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=WIDTH_ELSEWHERE)
        console.print(self._segment_table())
        if self._checkpoints:
            console.print(self._checkpoint_table())
        counts = self.queue_counts()
        if counts:
            table = table_of("queue_id", "messages", "queue")
            for queue_id, count in counts.items():
                table.add_row(str(queue_id), f"{count:,}", queue_name(self._names, queue_id))
            table.columns[2].justify = "left"
            console.print(table)
        totals = self.totals()
        if self._recovered is not None:
            console.print(
                f"{totals['live_messages']:,} live messages, {totals['live_bytes']:,} of {totals['size_bytes']:,} bytes"
                f" ({float(str(totals['live_ratio'])):.1%})",
                highlight=False,
            )
        for name in self._snapshot.set_aside():
            console.print(f"kept aside by an earlier start: {name}", highlight=False, markup=False)

    def _segment_table(self) -> Table:
        kinds = sorted({kind: None for each in self._segments for kind in each.record_counts})
        table = table_of(
            "segment",
            "bytes",
            "batches",
            *map(kind_name, kinds),
            "live",
            "live bytes",
            "first position",
            "last position",
        )
        for each in self._segments:
            live_count, live_bytes = self._live[each.number]
            is_known = self._recovered is not None
            table.add_row(
                str(each.number),
                f"{each.size_bytes:,}",
                f"{each.batch_count:,}",
                *(f"{each.record_counts.get(kind, 0):,}" for kind in kinds),
                f"{live_count:,}" if is_known else "?",
                f"{live_bytes:,}" if is_known else "?",
                f"{each.first_position:,}" if each.first_position >= 0 else "-",
                f"{each.last_position:,}" if each.last_position >= 0 else "-",
            )
        return table

    def _checkpoint_table(self) -> Table:
        table = table_of("checkpoint", "bytes", "segment", "offset", "position", "entries")
        for each in self._checkpoints:
            if not each.is_intact:
                table.add_row(str(each.generation), f"{each.size_bytes:,}", "damaged", "", "", "")
                continue
            figures = (each.size_bytes, each.segment_number, each.offset, each.position, each.entry_count)
            table.add_row(str(each.generation), *(f"{figure:,}" for figure in figures))
        return table


def table_of(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def live_by_segment(segments: list[SegmentFigures], recovered: Recovered | None) -> dict[int, tuple[int, int]]:
    found = {each.number: (0, 0) for each in segments}
    if recovered is None or not segments:
        return found
    for use in [*recovered.start.sealed_segments, recovered.start.segment]:
        # After an unclean stop recovery writes the last batch once more: for us it is where it is.
        number = min(int(use.number), segments[-1].number)
        if number in found:
            count, live_bytes = found[number]
            found[number] = (count + int(use.live_count), live_bytes + int(use.live_bytes))
    return found
