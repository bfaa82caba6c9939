"""docs/settings.md as the dataclasses of the settings have it: `python -m tests.tidy.settings_page` writes it anew.

Owns the page's form. Its content stands beside the fields: their names, defaults, and the comments before them. A comment
belongs to the field behind it, and one that begins a block to the whole block.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from amqpd.base.limits import BOUNDS, Limits
from amqpd.config import ALIASES, SETTINGS, Address, Config, variable_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/settings.md"

HEAD = """# Settings

From a TOML file (`--config FILE`, or `AMQPD_CONFIG`), the environment and flags, the last one wins. A setting of a table is
`limits.frame_max` on the command line (`--set limits.frame_max=65536`) and `AMQPD_LIMITS_FRAME_MAX` in the environment, where a list is
words with commas. What is wrong is refused in one sentence that names the setting, what it may be, what it was and where that
came from (exit code 78). An `AMQPD_` variable that is no setting is warned about, and ignored.

This page is made from the code: `python -m tests.tidy.settings_page`.
"""

# Fields of Config that are no settings of their own.
NOT_SETTINGS = ("limits", "warnings")


def comments_of(kind: type, path: str) -> dict[str, list[str]]:
    """The lines before each field. From the source, for a compiled class has none."""
    found: dict[str, list[str]] = {}
    paragraph: list[str] = []
    source = (ROOT / path).read_text()
    for line in source[source.index(f"class {kind.__name__}:") :].splitlines():
        text = line.strip()
        field = re.match(r"(\w+): .+", text)
        if text.startswith("#"):
            paragraph.append(text.lstrip("# "))
        elif field is not None and line.startswith("    ") and not line.startswith("     "):
            found[field[1]] = paragraph
            paragraph = []
        elif text.startswith(("def ", "@")):
            break
    return found


def shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value in ((), ""):
        return "none"
    if isinstance(value, tuple):
        return ", ".join(shown(each) for each in value)
    if isinstance(value, str | Address | Path):
        return f'"{value}"'
    return str(value)


def settings_of_config() -> Iterator[tuple[str, object, str]]:
    """Name, default, what it is."""
    comments = comments_of(Config, "amqpd/config.py")
    key_of = {key.replace(".", "_"): key for key in SETTINGS}
    other_name = {key: alias for alias, key in ALIASES.items()}
    for field in dataclasses.fields(Config):
        if field.name in NOT_SETTINGS:
            continue
        key = key_of[field.name]
        what = " ".join(comments[field.name])
        if key in other_name:
            what = f"{what} In a table: `{other_name[key]}`."
        yield key, field.default, what


def settings_of_limits() -> Iterator[tuple[str, object, str]]:
    comments = comments_of(Limits, "amqpd/base/limits.py")
    for field in dataclasses.fields(Limits):
        what = " ".join(comments[field.name])
        if field.name in BOUNDS:
            least, most = BOUNDS[field.name]
            what = f"{what} From {least} to {most}.".strip()
        yield f"limits.{field.name}", field.default, what


def table(rows: Iterator[tuple[str, object, str]]) -> list[str]:
    lines = ["| Setting | Default | |", "|---|---|---|"]
    for key, default, what in rows:
        lines.append(f"| `{key}`<br>`{variable_of(key)}` | {shown(default)} | {what.replace('|', '/')} |")
    return lines


def page() -> str:
    parts = [
        HEAD,
        *table(settings_of_config()),
        "\n## The table [limits]\n",
        "The bounds of everything that a peer can make grow, and the names by which the broker presents itself. `_ms` is",
        "milliseconds, `_s` seconds, `_bytes` bytes; what has no unit is counted. Where nothing else is said a number is 1 or more.\n",
        *table(settings_of_limits()),
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
