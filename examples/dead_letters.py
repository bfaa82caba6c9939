"""Look at the messages of a dead-letter queue, and send them back to where they died.

usage: python dead_letters.py QUEUE [--redrive]
"""

import argparse
import os

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import UnroutableError

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1/")


def show(channel: BlockingChannel, queue: str) -> None:
    """Nothing is acked, so all of it goes back to its place when the channel closes."""
    while True:
        method, properties, body = channel.basic_get(queue)
        if method is None:
            return
        print(body[:60].decode(errors="replace"))
        for death in (properties.headers or {}).get("x-death", []):
            print(f"  {death['count']} x {death['reason']} in {death['queue']}")


def redrive(channel: BlockingChannel, queue: str) -> None:
    """Each message is acked here once it is safe there; a crash between the two leaves it in both, never in neither."""
    channel.confirm_delivery()
    for _ in range(channel.queue_declare(queue, passive=True).method.message_count):
        method, properties, body = channel.basic_get(queue)
        if method is None:
            return
        text = body[:60].decode(errors="replace")
        headers = properties.headers or {}
        if "x-death" not in headers:
            print(f"{text} stays: it is no dead letter")
            continue
        target = headers["x-death"][0]["queue"]  # The newest death comes first.
        # A new life: whoever counts its deaths begins at 0 again.
        properties.headers = {key: headers[key] for key in headers if "-death" not in key}
        try:
            channel.basic_publish("", target, body, properties, mandatory=True)
        except UnroutableError:
            print(f"{text} stays: there is no queue '{target}' any more")
        else:
            channel.basic_ack(method.delivery_tag)
            print(f"{text} --> {target}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("queue")
    parser.add_argument("--redrive", action="store_true", help="send them back")
    arguments = parser.parse_args()
    with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
        (redrive if arguments.redrive else show)(connection.channel(), arguments.queue)


if __name__ == "__main__":
    main()
