"""`amqpd serve`: flags to settings, settings to a running broker.

Owns the flags and the exit codes. Does not own what a setting means (config.py) nor the broker's life (runtime/serve.py).

    0  stopped on SIGTERM or SIGINT     2  a wrong flag          78  a wrong setting
    1  can't start                     74  the disk failed       76  the data is damaged, and may not be served
   70  the broker made an error
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from amqpd.config import LOG_FORMATS, LOG_LEVELS, ConfigError, load_config

EXIT_FLAG = 2
EXIT_CONFIG = 78


class Flags(argparse.ArgumentParser):
    """What is wrong with the flags is one sentence, and the usage only what was asked for."""

    def error(self, message: str) -> NoReturn:
        import difflib

        known = [flag for action in self._actions for flag in action.option_strings]
        unknown = re.match(r"unrecognized arguments: (-[^ =]*)", message)
        nearest = difflib.get_close_matches(unknown[1], known, n=1) if unknown else []
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        sys.stderr.write(f"amqpd can't start: {message}{hint} (amqpd serve --help lists the flags)\n")
        sys.exit(EXIT_FLAG)


def parser() -> argparse.ArgumentParser:
    flags = Flags(
        prog="amqpd serve",
        description="Run the broker in the foreground until SIGTERM or SIGINT.",
        epilog="Every setting can also stand in the file, or in the environment as AMQPD_<NAME>.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    flags.add_argument("--config", metavar="FILE", help="settings in TOML")
    flags.add_argument("--data-dir", metavar="DIR", help="messages and topology (./data)")
    flags.add_argument(
        "--amqp", metavar="HOST:PORT", action="append", help="listen for AMQP (127.0.0.1:5672); repeatable"
    )
    flags.add_argument("--amqps", metavar="HOST:PORT", action="append", help="listen for AMQP over TLS; repeatable")
    flags.add_argument("--tls-cert", metavar="FILE", help="the server's certificate chain, PEM")
    flags.add_argument("--tls-key", metavar="FILE", help="its private key, PEM")
    flags.add_argument("--tls-ca", metavar="FILE", help="clients must show a certificate signed by this CA")
    flags.add_argument(
        "--definitions", metavar="FILE", help="RabbitMQ's definitions in JSON, loaded at start and on SIGHUP"
    )
    management = flags.add_mutually_exclusive_group()
    management.add_argument(
        "--management", metavar="HOST:PORT", help="there is no management API yet: refused, unless it says none"
    )
    management.add_argument("--no-management", dest="management", action="store_const", const="none")
    flags.add_argument("--log-level", choices=LOG_LEVELS)
    flags.add_argument("--log-format", choices=LOG_FORMATS)
    flags.add_argument(
        "--set", metavar="KEY=VALUE", action="append", help="any other setting, as limits.frame_max=65536; repeatable"
    )
    return flags


def read_flags(arguments: Sequence[str]) -> dict[str, object]:
    """Settings by the keys of config.py; only those that were given."""
    flags = vars(parser().parse_args(arguments))
    for pair in flags.pop("set", []):
        key, separator, value = pair.partition("=")
        if not separator:
            raise ConfigError(f"--set needs KEY=VALUE, not {pair!r}")
        if key.strip() == "config":
            raise ConfigError("--set config=... comes too late: say --config FILE")
        flags[key.strip()] = value.strip()
    return flags


def serve_command(arguments: Sequence[str]) -> int:
    try:
        config = load_config(read_flags(arguments), os.environ)
    except ConfigError as error:
        sys.stderr.write(f"amqpd can't start: {error}\n")
        return EXIT_CONFIG
    from amqpd.runtime.serve import serve

    return serve(config)
