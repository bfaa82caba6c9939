"""The definitions file: read, decoded, handed to the core.

Owns what can be wrong with a file. Does not own what is in it (vhosts/definitions_reader.py).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from amqpd.vhosts.definition_entry import DefinitionsError

if TYPE_CHECKING:
    from amqpd.broker import Broker


class BadDefinitions(Exception):
    """Why the file was not loaded, as one sentence; nothing of it was."""


def load_definitions(broker: Broker, path: Path) -> list[str]:
    """What the operator should know of it. The file is all there is to policies: others are deleted."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise BadDefinitions(f"can't read the definitions file {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise BadDefinitions(f"{path} is not valid JSON: {error}") from None
    try:
        return broker.load_definitions(document, is_whole=True)
    except DefinitionsError as error:
        raise BadDefinitions(f"{path}: {error}") from None
