"""Every setting stands in docs/settings.md, with its default and its name in the environment."""

from __future__ import annotations

import dataclasses

from amqpd.base.limits import Limits
from amqpd.config import SETTINGS
from tests.tidy.settings_page import PAGE, page, shown

NAMES = [*SETTINGS, *[f"limits.{field.name}" for field in dataclasses.fields(Limits)]]


def test_every_setting_is_a_row_of_the_page() -> None:
    rows = [line.split("`")[1] for line in page().splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(NAMES)


def test_the_page_is_as_the_code_has_it() -> None:
    assert PAGE.read_text() == page(), "the settings changed: python -m tests.tidy.settings_page"


def test_defaults_are_shown_as_they_are_written() -> None:
    assert [shown(each) for each in (True, None, (), ("a", "b"), "x", 0.5, 7)] == [
        "true",
        "none",
        "none",
        '"a", "b"',
        '"x"',
        "0.5",
        "7",
    ]


def test_the_readme_leads_to_the_page() -> None:
    assert "](docs/settings.md)" in (PAGE.parents[1] / "README.md").read_text()
