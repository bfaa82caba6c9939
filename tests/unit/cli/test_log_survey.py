"""The bar, and what a survey says; the commands are in test_log.py."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from amqpd.cli import log_survey
from amqpd.cli.log_survey import CannotLook, Survey, counted, progress

GOLDEN = Path(__file__).resolve().parents[2] / "golden/data-1"


def test_bar_is_not_drawn_where_nobody_sees_it(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading", 1 << 40) as advance:
        advance(1 << 39)
    assert capsys.readouterr().err == ""


def test_bar_is_drawn_on_a_terminal_if_the_work_is_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(log_survey, "LONG_BYTES", 100)
    for total, is_drawn in ((99, False), (100, True)):
        with progress("reading", total) as advance:
            advance(50)
        assert ("reading" in capsys.readouterr().err) is is_drawn


def test_missing_topology_is_a_problem_and_the_log_is_read_all_the_same(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "data")
    (tmp_path / "data/topology.sqlite").unlink()
    survey = Survey(tmp_path / "data")
    survey.walk()
    assert survey.problems == ["topology.sqlite: it is gone; which queues there are is not known"]
    assert survey.recovered is None
    assert len(survey.segments) == 6
    assert survey.exit_code == 1


def test_mixed_logs_without_an_identity_can_not_be_told_apart(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "data")
    (tmp_path / "data/identity.json").unlink()
    first = tmp_path / "data/log/0000000000000001.segment"
    first.write_bytes(first.read_bytes()[:16] + bytes(8) + first.read_bytes()[24:])
    with pytest.raises(CannotLook, match=r"identity\.json"):
        Survey(tmp_path / "data")


def test_nouns_are_counted() -> None:
    assert [counted(1, "batch"), counted(2, "batch"), counted(1000, "byte")] == ["1 batch", "2 batches", "1,000 bytes"]
