"""Some of what `python -m tests.crash.damaged_directories` runs by the hundred."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.crash.damaged_directories import DirectoryBroker, Origin, judge, origins

SEEDS = 18


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Origin]:
    return origins(tmp_path_factory.mktemp("origins"))


def test_what_is_damaged_is_deep_and_has_checkpoints_and_a_journal(made: list[Origin]) -> None:
    for origin in made:
        assert len(list((origin.path / "log").iterdir())) > 5
        assert sum(map(len, origin.held.values())) > 300
    assert [len(list((origin.path / "checkpoints").iterdir())) for origin in made[:2]] == [2, 2]
    assert [(origin.path / "topology.sqlite-wal").exists() for origin in made] == [False, True, True]


def test_an_origin_without_damage_has_all_that_it_held(made: list[Origin], tmp_path: Path) -> None:
    for number, origin in enumerate(made):
        path = tmp_path / f"{number}"
        shutil.copytree(origin.path, path)
        broker = DirectoryBroker(path)
        assert {name: sorted(bodies) for name, bodies in broker.drained().items()} == origin.held
        assert broker.lost == []
        broker.vanish()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_damage_costs_what_it_hit_and_is_said(made: list[Origin], seed: int, tmp_path: Path) -> None:
    judge(made[seed % len(made)], tmp_path, seed)
