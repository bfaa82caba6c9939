"""Build: the core is compiled by mypyc as ONE group, so that calls between its modules are direct C calls.

One C file for each module, compiled side by side on all cores (AMQPD_BUILD_JOBS=n for fewer): see
docs/decisions/0010-the-build.md for what that was measured to cost and gain. AMQPD_PURE=1 builds without compilation: the
same files, the same behaviour, slower. So does a machine without a C compiler or Python's headers, and says it.
Everything else is in pyproject.toml.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.build_ext import build_ext

CORE_FOLDERS = ("base", "wire", "exchanges", "store", "queues", "vhosts", "channels", "connections")

# Left interpreted, with the reason.
INTERPRETED = {
    "amqpd/store/topology_rows.py",  # the same: what SQLite gives is of any type
    "amqpd/store/sqlite_topology.py",  # SQLite behind the port: all its time is spent in the library
}

# Nobody outside calls into the group but through PyInit: without exported symbols its calls between files stay direct.
# What mypyc writes has nothing to learn from warnings, and other compilers have others, so that none is an error.
C_FLAGS = ["-fvisibility=hidden", "-w"]


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


def say(text: str) -> None:
    """One line for who waits. `make` hands in a descriptor of the terminal; pip shows the line with -v only."""
    os.write(int(os.environ.get("AMQPD_SAY_TO", "2")), f"amqpd: {text}\n".encode())


def why_not_compiled() -> str:
    """Empty if this machine can compile an extension of Python."""
    if os.environ.get("AMQPD_PURE") == "1":
        return "AMQPD_PURE=1"
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, "probe.c")
        probe.write_text("#include <Python.h>\n")
        include = [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]
        try:
            done = subprocess.run(
                [*compiler, *include, "-c", str(probe), "-o", str(probe.with_suffix(".o"))], capture_output=True
            )
        except OSError:
            return f"there is no C compiler ({compiler[0]})"
    return "" if done.returncode == 0 else f"{compiler[0]} does not find Python.h or does not work"


def job_count() -> int:
    return int(os.environ.get("AMQPD_BUILD_JOBS") or len(os.sched_getaffinity(0)))


class SideBySide(build_ext):
    """Compiles the files of the group, and the module shims beside it, on all cores; what is up to date stays."""

    def build_extensions(self) -> None:
        started_s = time.monotonic()
        self.parallel = job_count()
        one_by_one: Callable[..., list[str]] = self.compiler.compile

        def compile_all(sources: list[str], *args: Any, **options: Any) -> list[str]:
            def compile_one(source: str) -> list[str]:
                target = self.compiler.object_filenames([source], output_dir=options.get("output_dir") or "")
                needs = [source, *(options.get("depends") or [])]
                return target if _is_newer(target[0], needs) else one_by_one([source], *args, **options)

            with ThreadPoolExecutor(job_count()) as pool:
                return [name for names in pool.map(compile_one, sources) for name in names]

        self.compiler.compile = compile_all
        super().build_extensions()
        say(f"compiled in {time.monotonic() - started_s:.0f} s")


def _is_newer(target: str, sources: list[str]) -> bool:
    if not os.path.exists(target):
        return False
    made_s = os.path.getmtime(target)
    return all(os.path.getmtime(source) <= made_s for source in sources if os.path.exists(source))


def extensions() -> list[Any]:
    # pip asks for the metadata twice before it builds; that needs no compiler.
    asks_only = not {"egg_info", "dist_info", "clean"}.isdisjoint(sys.argv)
    if asks_only:
        return []
    why = why_not_compiled()
    if why:
        say(f"the core is not compiled and runs interpreted, several times slower: {why}")
        return []
    import mypyc
    from mypyc.build import mypycify

    modules = core_modules()
    say(f"compiling {len(modules)} modules of the core on {job_count()} cores, about a minute on two ...")
    # No debug symbols: the compile is faster and the process smaller; Python tracebacks don't need them.
    group = list(mypycify(modules, opt_level="2", debug_level="0", group_name="amqpd", multi_file=True))
    runtime = glob(f"{os.path.dirname(mypyc.__file__)}/lib-rt/**/*.h", recursive=True)
    for extension in group:
        extension.extra_compile_args = [f for f in extension.extra_compile_args if f != "-Werror"] + C_FLAGS
        # Changed flags and another mypyc build everything anew.
        extension.depends = [*extension.depends, *runtime, "setup.py"]
    return group


if sys.argv[1:] == ["why_not_compiled"]:
    sys.stdout.write(f"{why_not_compiled()}\n")
else:
    setup(ext_modules=extensions(), cmdclass={"build_ext": SideBySide})
