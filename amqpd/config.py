"""TOML file + environment + flags -> one frozen, validated Config; read once, passed down, never global.

Owns: what can be set, under which name, and the one sentence that says what is wrong with it. Does not own what the
limits mean (base/limits.py). A key `frame_max` of the table `[limits]` is AMQPD_LIMITS_FRAME_MAX in the environment
and `--set limits.frame_max=...` on the command line. Flags win over the environment, the environment over the file.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from amqpd.base.limits import Limits

ENVIRONMENT_PREFIX: Final = "AMQPD_"
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
    data_dir: Path = Path("data")
    amqp: tuple[Address, ...] = (Address("127.0.0.1", 5672),)
    amqps: tuple[Address, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    # With a CA every TLS client must show a certificate that it signed.
    tls_ca: Path | None = None
    # Vhosts, users, permissions, exchanges, queues, bindings and policies, as RabbitMQ exports them; loaded at start and
    # on SIGHUP.
    definitions: Path | None = None
    management: Address | None = Address("127.0.0.1", 15672)
    log_level: str = "info"
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
        raise ValueError("must be HOST:PORT")
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
    if isinstance(value, str) and value.isascii() and value.replace("_", "").isdigit():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError("must be a whole number, 0 or more")


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


def _optional_address(value: object) -> Address | None:
    # "none" is how a flag or the environment spells what TOML has no word for.
    return None if value == "none" else parse_address(value)


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
    "management": _optional_address,
    "log_level": _one_of(LOG_LEVELS),
    "log_format": _one_of(LOG_FORMATS),
    "memory_high_watermark": _share,
    "memory_paging_ratio": _share,
    "disk_reserve_bytes": _integer,
    "disk_settle_reserve_bytes": _integer,
}

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
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read the configuration file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    given: dict[str, _Given] = {}
    for key, value in tables.items():
        if isinstance(value, dict):
            given.update({f"{key}.{name}": _Given(inner, f"in {path}") for name, inner in value.items()})
        else:
            given[key] = _Given(value, f"in {path}")
    return given


def _from_environment(environ: Mapping[str, str], known: Mapping[str, object]) -> tuple[dict[str, _Given], list[str]]:
    """Settings, and warnings about names that only look like ours.

    Not refused: Kubernetes puts AMQPD_PORT and the like into every container beside a service called amqpd.
    """
    by_name = {ENVIRONMENT_PREFIX + key.replace(".", "_").upper(): key for key in known}
    given: dict[str, _Given] = {}
    warnings: list[str] = []
    for name in sorted(environ):
        if name in by_name:
            given[by_name[name]] = _Given(environ[name], f"in {name}")
        elif name.startswith((f"{ENVIRONMENT_PREFIX}LIMITS_", f"{ENVIRONMENT_PREFIX}TLS_")):
            warnings.append(f"the environment variable {name} is not a setting of amqpd and is ignored")
    return given, warnings


def _unknown(key: str, source: str, known: Mapping[str, object]) -> ConfigError:
    import difflib

    nearest = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return ConfigError(f"unknown key {key!r} {source}{hint}")


def load_config(flags: Mapping[str, object], environ: Mapping[str, str]) -> Config:
    """One validated object, or ConfigError. `flags` holds only what was given; its keys are those of SETTINGS."""
    parsers = {**SETTINGS, **_limit_parsers()}
    given: dict[str, _Given] = {}
    path = flags.get("config") or environ.get(f"{ENVIRONMENT_PREFIX}CONFIG")
    if path:
        given.update(_from_file(Path(str(path))))
    from_environment, warnings = _from_environment(environ, parsers)
    given.update(from_environment)
    given.update({key: _Given(value, "on the command line") for key, value in flags.items() if key != "config"})

    top: dict[str, object] = {}
    limits: dict[str, object] = {"cluster_name": f"amqpd@{os.uname().nodename}"}
    for key, one in given.items():
        if key not in parsers:
            raise _unknown(key, one.source, parsers)
        try:
            value = parsers[key](one.value)
        except ValueError as error:
            raise ConfigError(f"{key} {one.source} {error}, not {one.value!r}") from None
        if key.startswith("limits."):
            limits[key.removeprefix("limits.")] = value
        else:
            top[key] = value
    config = Config(**top, limits=Limits(**limits), warnings=tuple(warnings))  # type: ignore[arg-type]
    _refuse(config)
    return config


def _refuse(config: Config) -> None:
    """What each value can't know alone."""
    why = config.limits.refusal()
    if why:
        raise ConfigError(f"limits.{why}")
    if not config.amqp and not config.amqps:
        raise ConfigError("there is no address to listen on: set amqp or amqps")
    if config.amqps and (config.tls_cert is None or config.tls_key is None):
        raise ConfigError("amqps needs tls_cert and tls_key")
    if not config.amqps and (config.tls_cert or config.tls_key or config.tls_ca):
        raise ConfigError("tls_cert, tls_key and tls_ca do nothing without amqps")
