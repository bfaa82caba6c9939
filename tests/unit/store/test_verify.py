from __future__ import annotations

import itertools
import random

import pytest

from amqpd.base.errors import UnknownFormat
from amqpd.store.verify import Verifier
from tests.fakes.faulty_disk import KEPT, FakeFile, FaultyDisk
from tests.fakes.store_model import LOG_ID, StoreModel

NAMES = {1: "queue 'a' in vhost '/'", 2: "queue 'b' in vhost '/'"}


def make_log(checkpoint_count: int = 2) -> StoreModel:
    model = StoreModel(FaultyDisk(), [1, 2], 2048)
    for step in range(60):
        model.publish(b"body %d " % step * (1 + step % 40), 1 + step % 2)
        if step % 3 == 0:
            model.settle_oldest(1 + step % 2)
        model.commit()
        if step % 20 == 19 and checkpoint_count > 0:
            checkpoint_count -= 1
            model.checkpoint()
    return model


def verify(disk: FaultyDisk, clean_position: int = -1) -> Verifier:
    verifier = Verifier(disk, LOG_ID, clean_position, NAMES)
    verifier.checkpoints()
    for number in disk.segment_numbers():
        verifier.segment(number)
    verifier.end()
    verifier.replay([1, 2])
    return verifier


def sentences(verifier: Verifier) -> list[str]:
    return [f"{each.place} {each.number} {each.offset} {each.what}" for each in verifier.problems]


@pytest.mark.parametrize("checkpoint_count", [0, 1, 3])
def test_intact_log_has_no_problems(checkpoint_count: int) -> None:
    model = make_log(checkpoint_count)
    for clean_position in (-1, int(model.log.position)):
        verifier = verify(model.disk.survivor(KEPT), clean_position)
        assert sentences(verifier) == []
        assert verifier.notices == []


def test_intact_log_stays_intact_over_crashes_moves_and_deletions() -> None:
    disk = FaultyDisk()
    for life in range(4):
        model = StoreModel(disk, [1, 2], 1024)
        for step in range(30):
            model.publish(b"x" * (step * 31 % 400), 1, 2)
            model.settle_oldest(1)
            if step % 7:
                model.settle_oldest(2)
            model.move_leaving()
            model.commit()
            if step % 10 == 9:
                model.checkpoint()
                model.delete_dead()
        disk = model.disk.survivor(KEPT)
        assert disk.segment_numbers()[0] > 1 or life == 0
        assert sentences(verify(disk.survivor(KEPT))) == [], life


def test_figures_of_a_segment_add_up() -> None:
    model = make_log(0)
    verifier = Verifier(model.disk, LOG_ID, -1, NAMES)
    figures = [verifier.segment(number) for number in model.disk.segment_numbers()]
    assert sum(each.batch_count for each in figures) == 60
    assert sum(each.record_counts[1] for each in figures) == 60
    assert sum(each.record_counts.get(2, 0) for each in figures) == 20
    assert sum(each.record_count for each in figures) == 80
    assert figures[0].first_position == 0
    assert all(left.last_position < right.first_position for left, right in itertools.pairwise(figures))
    assert sum(each.damaged_bytes for each in figures) == 0


def test_torn_tail_is_said_and_no_problem() -> None:
    model = make_log()
    last = model.disk.segment_numbers()[-1]
    model.disk.segments[last] = FakeFile(model.disk.segments[last].content + b"AQB1 torn")
    verifier = verify(model.disk)
    assert sentences(verifier) == []
    (notice,) = verifier.notices
    assert "ends with 9 bytes of an unfinished write" in notice


def test_damage_names_segment_byte_queue_and_count() -> None:
    model = make_log(0)
    data = model.disk.segments[3].content
    at = data.index(b"body ")
    model.disk.segments[3] = FakeFile(data[:at] + b"\xff" + data[at + 1 :])
    (problem,) = verify(model.disk).problems
    assert (problem.place, problem.number, problem.offset) == ("segment", 3, 48)
    assert "bytes are not what was written (a batch of " in problem.what
    assert "1 message for queue '" in problem.what


def test_messages_that_only_the_checkpoint_knows_are_lost_by_queue() -> None:
    model = make_log(1)
    model.publish(b"one more", 2)
    model.publish(b"one more", 1, 2)
    model.commit()
    checkpoint = model.checkpoint()
    number = int(checkpoint.segment_number)
    data = model.disk.segments[number].content
    model.disk.segments[number] = FakeFile(data[: data.rindex(b"AQB1") + 4] + bytes(data.count(0)))
    found = sentences(verify(model.disk))
    assert "log 0 -1 queue 'a' in vhost '/': 1 message is lost" in found
    assert "log 0 -1 queue 'b' in vhost '/': 2 messages are lost" in found


def test_every_flipped_bit_of_a_log_is_found() -> None:
    model = make_log(1)
    source = random.Random(4)
    for _ in range(150):
        disk = model.disk.survivor(KEPT)
        number = source.choice(disk.segment_numbers())
        data = bytearray(disk.segments[number].content)
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)
        disk.segments[number] = FakeFile(bytes(data))
        verifier = verify(disk, int(model.log.position))
        assert verifier.problems, number


def test_damaged_checkpoint_is_found_wherever_it_is() -> None:
    model = make_log()
    newest = max(model.disk.checkpoints)
    data = model.disk.checkpoints[newest]
    for at in range(0, len(data), 11):
        model.disk.checkpoints[newest] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        found = sentences(verify(model.disk.survivor(KEPT)))
        assert len(found) == 1, at
        assert found[0].startswith(f"checkpoint {newest} "), at


def test_checkpoint_of_another_moment_does_not_fit_the_log() -> None:
    model = make_log(1)
    other = make_log(0)
    for step in range(25):
        other.publish(b"other" * step, 1)
        other.commit()
    other.checkpoint()
    model.disk.checkpoints = {5: other.disk.checkpoints[1]}
    found = sentences(verify(model.disk))
    assert "checkpoint 5 24 says that it is generation 1" in found
    assert any("too early" in sentence for sentence in found)


def test_part_that_is_cut_out_between_batches_is_a_problem_and_the_rest_is_read() -> None:
    model = make_log(0)
    number = model.disk.segment_numbers()[-1]
    model.publish(b"one more", 1)
    model.commit()
    data = model.disk.segments[number].content
    starts = [at for at in range(len(data)) if data[at : at + 4] == b"AQB1"]
    model.disk.segments[number] = FakeFile(data[: starts[0]] + data[starts[1] :])
    verifier = Verifier(model.disk, LOG_ID, -1, NAMES)
    figures = [verifier.segment(number) for number in model.disk.segment_numbers()]
    assert sum(each.batch_count for each in figures) == 60
    assert "a part of the log is gone" in sentences(verifier)[0]


def test_missing_segment_is_named() -> None:
    model = make_log(1)
    number = model.disk.segment_numbers()[-2]
    del model.disk.segments[number]
    assert f"log 0 -1 the log has lost segment {number}" in sentences(verify(model.disk))


def test_missing_end_after_a_clean_stop_is_a_problem() -> None:
    model = make_log(0)
    last = model.disk.segment_numbers()[-1]
    model.disk.segments[last] = FakeFile(model.disk.segments[last].content[:-5])
    assert any("bytes too early" in sentence for sentence in sentences(verify(model.disk, int(model.log.position))))


def test_refusal_of_a_start_is_foretold() -> None:
    disk = make_log(0).disk
    del disk.segments[1]
    found = sentences(verify(disk))
    assert found[0] == "log 0 -1 the log has lost segment 1"
    assert found[-1].startswith("log 0 -1 the broker would refuse to start: no intact checkpoint")


def test_segment_that_could_not_be_read_is_not_blamed_on_the_next_one() -> None:
    model = make_log(0)
    verifier = Verifier(model.disk, LOG_ID, -1, NAMES)
    verifier.segment(1)
    content = model.disk.segments[2]
    model.disk.segments[2] = FakeFile(content.content[:8] + b"\x02" + content.content[9:])
    with pytest.raises(AssertionError):
        assert verifier.segment(2).damaged_bytes == 0
    verifier.unreadable()
    verifier.segment(3)
    assert all(problem.number == 2 for problem in verifier.problems)


def test_unknown_kind_of_record_is_refused() -> None:
    model = StoreModel(FaultyDisk(), [1])
    model.publish(b"one", 1)
    batch = model.log.seal([])
    assert batch is not None
    batch.records = b"\x1f" + batch.records[1:]
    model.writer.commit(batch)
    with pytest.raises(UnknownFormat, match="record at byte 116"):
        Verifier(model.disk, LOG_ID, -1, NAMES).segment(1)
