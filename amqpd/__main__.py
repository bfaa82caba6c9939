"""`amqpd` and `python -m amqpd`.

`serve` is taken out before anything else is imported: typer and rich would cost a broker 40 ms of its start and 6 MiB
for as long as it runs.
"""

from __future__ import annotations

import sys


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[:1] == ["serve"]:
        from amqpd.cli.serve import serve_command

        sys.exit(serve_command(arguments[1:]))
    from amqpd.cli.main import app

    app(prog_name="amqpd")


if __name__ == "__main__":
    main()
