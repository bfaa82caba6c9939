"""Build: the core is compiled by mypyc as ONE group, so that calls between its modules are direct C calls.

AMQPD_PURE=1 builds without compilation: the same files, the same behaviour, slower. Everything else is in pyproject.toml.
"""

from __future__ import annotations

import os
import sys
from glob import glob

from setuptools import setup

CORE_FOLDERS = ("base", "wire", "exchanges", "store", "queues", "vhosts", "channels", "connections")

# Left interpreted, with the reason.
INTERPRETED = {
    "amqpd/store/topology_rows.py",  # the same: what SQLite gives is of any type
    "amqpd/store/sqlite_topology.py",  # SQLite behind the port: all its time is spent in the library
}


def core_modules() -> list[str]:
    """The compiled group, in a fixed order so that two builds of one tree are the same."""
    found = [
        "amqpd/broker.py",
        "amqpd/caretaker.py",
        *[f"amqpd/cli/load/{name}.py" for name in ("histogram", "publisher", "peer")],
    ]
    for folder in CORE_FOLDERS:
        found += glob(f"amqpd/{folder}/**/*.py", recursive=True)
    names = (name.replace(os.sep, "/") for name in found)
    # A package's __init__ holds a docstring; compiled it would only be one more shared object to load.
    return sorted(n for n in names if not n.endswith("__init__.py") and n not in INTERPRETED and os.path.exists(n))


def extensions() -> list[object]:
    # pip asks for the metadata twice before it builds; that needs no compiler.
    asks_only = not {"egg_info", "dist_info"}.isdisjoint(sys.argv)
    if os.environ.get("AMQPD_PURE") == "1" or asks_only:
        return []
    from mypyc.build import mypycify

    # No debug symbols: the compile is faster and the process smaller; Python tracebacks don't need them.
    return list(mypycify(core_modules(), opt_level="3", debug_level="0", group_name="amqpd"))


setup(ext_modules=extensions())
