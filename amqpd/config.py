"""TOML file + environment + flags -> one frozen, validated Config; read once, passed down, never global.

Owns: what can be set, under which name, and the one sentence that says what is wrong with it. Does not own what the
limits mean (base/limits.py). A key `frame_max` of the table `[limits]` is AMQPD_LIMITS_FRAME_MAX in the environment
and `--set limits.frame_max=...` on the command line. Flags win over the environment, the environment over the file.
Invariant: every refusal names the setting, what it may be, what it was, and where that came from.
"""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from amqpd.base.limits import Limits

ENVIRONMENT_PREFIX: Final = "AMQPD_"
# Variables of that prefix that are not settings: of the build and the tests, and what Kubernetes puts into every container
# beside a service that is called amqpd.
FOREIGN_VARIABLES: Final = re.compile(
    r"AMQPD_(CONFIG|PURE|EXPECT_COMPILED|TEST_\w+|FUZZ_\w+|PORT(_\d+_(TCP|UDP)(_\w+)?)?|SERVICE_(HOST|PORT)(_\w+)?)"
)
# A whole number is read from at most so many digits.
DIGITS_MAX: Final = 30
FILE_BYTES_MAX: Final = 1 << 20
DISK_RESERVE_BYTES_MAX: Final = 1 << 50
SHOWN_CHARACTERS_MAX: Final = 100
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("human", "json")


class ConfigError(Exception):
    """What is wrong, as one sentence for the operator."""


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Config:
    # Messages and topology; one process at a time.
    data_dir: Path = Path("data")
    # Where to listen for AMQP.
    amqp: tuple[Address, ...] = (Address("127.0.0.1", 5672),)
    # And over TLS.
    amqps: tuple[Address, ...] = ()
    # The server's certificate chain and its private key, PEM.
    tls_cert: Path | None = None
    tls_key: Path | None = None
    # With a CA every TLS client must show a certificate that it signed.
    tls_ca: Path | None = None
    # Vhosts, users, permissions, exchanges, queues, bindings and policies, as RabbitMQ exports them; loaded at start and
    # on SIGHUP.
    definitions: Path | None = None
    # The file is all there is to users and permissions: others are removed, and their connections closed.
    definitions_is_complete: bool = False
    # What RabbitMQ has and amqpd does not (streams, exchange types of plugins ...) is left out of the file; else the file
    # is refused.
    definitions_skip_unsupported: bool = False
    # There is no management API yet, so "none" is all that it may be.
    management: Address | None = None
    # "debug", "info", "warning" or "error".
    log_level: str = "info"
    # "human", or "json": one object a line.
    log_format: str = "human"
    # Share of the memory limit (cgroup or RAM) from which on publishers are blocked.
    memory_high_watermark: float = 0.6
    # Share of that from which on messages leave memory for the disk as far as they can.
    memory_paging_ratio: float = 0.5
    # Publishers are blocked while less than this is free on the file system of data_dir.
    disk_reserve_bytes: int = 1024 * 1024 * 1024
    # Allocated in data_dir beforehand, and given up when a write finds no room: acks and checkpoints go there, so that
    # consumers give space back. At most an eighth of the file system; 0: none.
    disk_settle_reserve_bytes: int = 64 * 1024 * 1024
    limits: Limits = field(default_factory=Limits)
    # Not refusals: things that the log should mention once it stands.
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Given:
    """A raw value and where it came from ("in FILE", "on the command line"), for the sentence that refuses it."""

    value: object
    source: str


def parse_address(value: object) -> Address:
    text = _text(value)
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError("must be HOST:PORT, the port at most 65535")
    return Address(host, int(port))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value


def _path(value: object) -> Path:
    text = _text(value)
    if not text or "\0" in text:
        raise ValueError("must be a path")
    return Path(text)


def _integer(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"\d+(_\d+)*", value, re.ASCII) and len(value) <= DIGITS_MAX:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError("must be a whole number, 0 or more")


def _disk_reserve(value: object) -> int:
    size = _integer(value)
    if size > DISK_RESERVE_BYTES_MAX:
        raise ValueError(f"must be at most {DISK_RESERVE_BYTES_MAX}")
    return size


def _flag(value: object) -> bool:
    if value in ("true", "false"):
        return value == "true"
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _share(value: object) -> float:
    try:
        share = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else -1.0
    except ValueError:
        share = -1.0
    if not 0.0 < share <= 1.0:
        raise ValueError("must be a share above 0 and up to 1")
    return share


def _strings(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return tuple(_text(part) for part in value)
    raise ValueError("must be a list of strings")


def _addresses(value: object) -> tuple[Address, ...]:
    return tuple(parse_address(part) for part in _strings(value))


def _no_management(value: object) -> None:
    # "none" is how a flag or the environment spells what TOML has no word for.
    if value != "none":
        raise ValueError('must be "none" or left out, for there is no management API yet and nothing would listen')


def _one_of(words: tuple[str, ...]) -> Callable[[object], str]:
    def parse(value: object) -> str:
        word = _text(value).lower()
        if word not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return word

    return parse


SETTINGS: Final[dict[str, Callable[[object], object]]] = {
    "data_dir": _path,
    "amqp": _addresses,
    "amqps": _addresses,
    "tls_cert": _path,
    "tls_key": _path,
    "tls_ca": _path,
    "definitions": _path,
    "definitions.is_complete": _flag,
    "definitions.skip_unsupported": _flag,
    "management": _no_management,
    "log_level": _one_of(LOG_LEVELS),
    "log_format": _one_of(LOG_FORMATS),
    "memory_high_watermark": _share,
    "memory_paging_ratio": _share,
    "disk_reserve_bytes": _disk_reserve,
    "disk_settle_reserve_bytes": _disk_reserve,
}
# Other names of the same settings: with a table [definitions] the file has no room for a key of that name.
ALIASES: Final = {"definitions.path": "definitions"}
TABLES: Final = ("definitions", "limits")

_LIMIT_PARSERS: Final[dict[type, Callable[[object], object]]] = {
    int: _integer,
    str: _text,
    tuple: _strings,
}


def _limit_parsers() -> dict[str, Callable[[object], object]]:
    """The default's type decides how a limit is read."""
    return {f"limits.{f.name}": _LIMIT_PARSERS[type(f.default)] for f in dataclasses.fields(Limits)}


def _from_file(path: Path) -> dict[str, _Given]:
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
        if len(text) > FILE_BYTES_MAX:
            raise ConfigError(f"{path} is larger than {FILE_BYTES_MAX} bytes, the most a configuration file may have")
        tables = tomllib.loads(text.decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read the configuration file {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        # Also of what is no UTF-8, and of numbers with thousands of digits.
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    given: dict[str, _Given] = {}
    for key, value in tables.items():
        if not isinstance(value, dict):
            given[key] = _Given(value, f"in {path}")
        elif key not in TABLES and len(value) == 0:
            given[key] = _Given({}, f"in {path}")
        else:
            given.update({f"{key}.{name}": _Given(inner, f"in {path}") for name, inner in value.items()})
    return given


def _from_environment(environ: Mapping[str, str], known: Mapping[str, object]) -> tuple[dict[str, _Given], list[str]]:
    """Settings, and warnings about names that only look like ours. Not refused: who else uses them is not ours to say."""
    by_name = {variable_of(key): key for key in known}
    given: dict[str, _Given] = {}
    warnings: list[str] = []
    for name in sorted(environ):
        if name in by_name:
            given[by_name[name]] = _Given(environ[name], f"in the environment ({name})")
        elif name.upper().startswith(ENVIRONMENT_PREFIX) and not FOREIGN_VARIABLES.fullmatch(name):
            # The prefix is no likeness.
            hint = _nearest(name.upper()[len(ENVIRONMENT_PREFIX) :], by_name, ENVIRONMENT_PREFIX)
            warnings.append(f"the environment variable {name} is not a setting of amqpd and is ignored{hint}")
    return given, warnings


def variable_of(key: str) -> str:
    return ENVIRONMENT_PREFIX + key.replace(".", "_").upper()


def _nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    import difflib

    nearest = difflib.get_close_matches(name, [each.removeprefix(prefix) for each in known], n=1)
    return f"; did you mean {prefix + nearest[0]!r}?" if nearest else ""


def _unknown(key: str, source: str, known: Iterable[str]) -> ConfigError:
    # Who knows the name of a limit may not know its table.
    whole = [each for each in known if each.partition(".")[2] == key]
    hint = f"; did you mean {whole[0]!r}?" if whole else _nearest(key, known)
    return ConfigError(f"unknown key {key!r} {source}{hint}")


def load_config(flags: Mapping[str, object], environ: Mapping[str, str]) -> Config:
    """One validated object, or ConfigError. `flags` holds only what was given; its keys are those of SETTINGS."""
    parsers = {**SETTINGS, **_limit_parsers()}
    names = [*parsers, *ALIASES]
    given: dict[str, _Given] = {}
    path = flags.get("config") or environ.get(f"{ENVIRONMENT_PREFIX}CONFIG")
    if path:
        given.update(_canonical(_from_file(Path(str(path)))))
    from_environment, warnings = _from_environment(environ, dict.fromkeys(names))
    given.update(_canonical(from_environment))
    given.update(
        _canonical({key: _Given(value, "on the command line") for key, value in flags.items() if key != "config"})
    )

    top: dict[str, object] = {}
    limits: dict[str, object] = {"cluster_name": f"amqpd@{os.uname().nodename}"}
    for key, one in given.items():
        if key not in parsers:
            raise _unknown(key, one.source, names)
        try:
            value = parsers[key](one.value)
        except ValueError as error:
            raise ConfigError(f"{key} {one.source} {error}, not {_shown(one.value)}") from None
        if key.startswith("limits."):
            limits[key.removeprefix("limits.")] = value
        else:
            top[key.replace(".", "_")] = value
    config = Config(**top, limits=Limits(**limits), warnings=tuple(warnings))  # type: ignore[arg-type]
    _refuse(config, given)
    return config


def _canonical(given: dict[str, _Given]) -> dict[str, _Given]:
    return {ALIASES.get(key, key): one for key, one in given.items()}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[: SHOWN_CHARACTERS_MAX - 3]}..."


def _refuse(config: Config, given: Mapping[str, _Given]) -> None:
    """What each value can't know alone."""
    why = config.limits.refusal([key.removeprefix("limits.") for key in given])
    if why:
        name, _, rest = why.partition(" ")
        one = given.get(f"limits.{name}")
        raise ConfigError(f"limits.{name} {one.source} {rest}" if one is not None else f"limits.{why}")
    if not config.amqp and not config.amqps:
        raise ConfigError("there is no address to listen on: set amqp or amqps")
    if config.amqps and (config.tls_cert is None or config.tls_key is None):
        raise ConfigError("amqps needs tls_cert and tls_key")
    for key in ("tls_cert", "tls_key", "tls_ca"):
        if not config.amqps and key in given:
            raise ConfigError(f"{key} {given[key].source} does nothing without amqps")
    for key in ("definitions.is_complete", "definitions.skip_unsupported"):
        if config.definitions is None and key in given and given[key].value not in (False, "false"):
            raise ConfigError(
                f"{key} {given[key].source} does nothing without a definitions file: set definitions.path"
            )
