"""Bytes on the disk that go bad by themselves, and what of the log is still good afterwards.

Owns the damage, and the knowledge of which messages it did not hit: a node has to serve those, and nothing else.
"""

from __future__ import annotations

import random

from amqpd.store.batch import find_batch
from tests.sim.disk import SECTOR, SimDisk, SimFile
from tests.sim.ledger import Publish
from tests.sim.node import LOG_ID
from tests.sim.story import Story


def rot(disk: SimDisk, source: random.Random, story: Story) -> bool:
    """Some bits, sectors or ends of segments; sometimes a checkpoint, which it says."""
    for _ in range(source.randrange(0, 3)):
        numbers = disk.segment_numbers()
        if not numbers:
            break
        number = source.choice(numbers)
        data = bytearray(disk.segments[number].cache)
        if not data:
            continue
        at = source.randrange(len(data))
        kind = source.choice(("a bit flips", "a sector is zeroed", "the end is gone", "a write went astray"))
        if kind == "a bit flips":
            data[at] ^= 1 << source.randrange(8)
        elif kind == "a sector is zeroed":
            start = at // SECTOR * SECTOR
            end = min(len(data), start + SECTOR)
            data[start:end] = bytes(end - start)
        elif kind == "the end is gone":
            del data[at:]
        else:
            piece = data[max(0, at - 100) : at][: len(data) - at]
            data[at : at + len(piece)] = piece
        disk.segments[number] = SimFile(data, data)
        story.tell("! in segment {} {} at {}", number, kind, at)
    if disk.checkpoints and source.random() < 0.15:
        generation = source.choice(sorted(disk.checkpoints))
        data = bytearray(disk.checkpoints[generation])
        data[source.randrange(len(data))] ^= 1
        disk.checkpoints[generation] = bytes(data)
        story.tell("! a bit of checkpoint {} flips", generation)
        return True
    return False


def whole_counts(disk: SimDisk, publishes: list[Publish]) -> dict[int, int]:
    """How often each publish stands in a batch whose checksum holds."""
    whole = []
    for number in disk.segment_numbers():
        data = bytes(disk.segments[number].cache)
        batch = find_batch(data, 0, LOG_ID)
        while batch is not None:
            whole.append(data[batch.records_offset : batch.end])
            batch = find_batch(data, batch.end, LOG_ID)
    records = b"".join(whole)
    counts = {publish.uid: records.count(publish.body) for publish in publishes}
    return {uid: count for uid, count in counts.items() if count > 0}
