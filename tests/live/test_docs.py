"""Every Python block in docs: it runs against a real broker, and prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import ROOT, Broker
from .test_examples import run

DOCS = ROOT / "docs"
# What the programs of a page print, line by line; the beginnings of the lines.
PRINTED = {
    "features/confirms-and-transactions.md": ["nobody has it"],
    "features/consumer-timeout.md": ["b'work' True"],
    "features/consumers.md": ["[('main', b'0'), ('main', b'1'), ('spare', b'2'), ('spare', b'3')]"],
    "features/dead-letters.md": [
        "try 1",
        "try 2",
        "try 3",
        "[{'count': 1L, 'reason': 'delivery_limit', 'queue': 'work', ",
    ],
    "features/deduplication.md": ["1"],
    "features/delayed-messages.md": ["None", "b'order 4711'"],
    "features/delayed-retry.md": ["try 1", "try 2", "try 3", "delivery_limit"],
    "features/exchange-types.md": ["[206, 394]"],
    "features/length-limits.md": ["b'new'", "refused"],
    "features/priorities.md": ["payment", "alarm", "mail", "report"],
    "features/ttl.md": ["1"],
}
# Pages that show code of ours, and where it stands.
EXCERPTS = {"differential.md": "tests/differential/behaviours/settle.py"}


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def test_every_page_with_python_in_it_is_run_or_shows_our_own() -> None:
    pages = [str(path.relative_to(DOCS)) for path in sorted(DOCS.rglob("*.md"))]
    assert [page for page in pages if blocks(page)] == sorted([*PRINTED, *EXCERPTS])


@pytest.mark.parametrize("page", PRINTED)
def test_the_programs_of_a_page_run_and_print_what_it_says(broker: Broker, tmp_path: Path, page: str) -> None:
    lines = []
    for number, block in enumerate(blocks(page)):
        script = tmp_path / f"{number}.py"
        script.write_text(
            block.replace("BlockingConnection()", f"BlockingConnection(pika.URLParameters('{broker.url}'))")
        )
        lines += run(broker, str(script))
    assert len(lines) == len(PRINTED[page]), lines
    for line, printed in zip(lines, PRINTED[page], strict=True):
        assert line.startswith(printed)


@pytest.mark.parametrize("page", EXCERPTS)
def test_code_of_ours_is_shown_as_it_is(page: str) -> None:
    source = (ROOT / EXCERPTS[page]).read_text()
    for block in blocks(page):
        assert block in source
