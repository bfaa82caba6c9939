from __future__ import annotations

from pathlib import Path

import pytest

from amqpd.cli.log_stat import Stat, live_by_segment
from amqpd.cli.log_survey import Survey

GOLDEN = Path(__file__).resolve().parents[2] / "golden/data-1"


@pytest.fixture
def survey() -> Survey:
    found = Survey(GOLDEN)
    found.walk()
    return found


def stat_of(survey: Survey) -> Stat:
    return Stat(survey.snapshot, survey.segments, survey.checkpoints, survey.recovered, survey.topology)


def test_totals_add_up(survey: Survey) -> None:
    assert stat_of(survey).totals() == {
        "segments": 6,
        "size_bytes": 6633,
        "batches": 24,
        "records": 63,
        # Each queue that holds a message counts.
        "live_messages": 60,
        "live_bytes": 3822,
        "live_ratio": 0.5762,
    }
    assert stat_of(survey).queue_counts() == {1: 48, 2: 12}


def test_tables_name_kinds_checkpoints_and_queues(survey: Survey, capsys: pytest.CaptureFixture[str]) -> None:
    stat_of(survey).print_tables()
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(lines[0].split()) == (
        "segment bytes batches MESSAGE SETTLE REQUEUE DELIVERED MOVE live live bytes first position last position"
    )
    assert " ".join(lines[6].split()) == "6 1,124 4 8 2 1 1 0 12 748 5,269 6,047"
    assert " ".join(lines[8].split()) == "1 1,214 4 303 3,432 33"
    assert lines[-1] == "60 live messages, 3,822 of 6,633 bytes (57.6%)"


def test_without_a_recovery_what_is_live_is_not_known(survey: Survey, capsys: pytest.CaptureFixture[str]) -> None:
    survey.recovered = None
    stat_of(survey).print_tables()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[-4:-2] == ["?", "?"]
    assert "live messages" not in lines[-1]


def test_batch_that_a_start_would_write_again_counts_where_it_is(survey: Survey) -> None:
    recovered = survey.recovered
    assert recovered is not None
    recovered.start.segment.number = 7
    assert live_by_segment(survey.segments, recovered)[6] == (12, 748)
