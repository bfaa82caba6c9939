"""The quiet neighbour, a process of its own: every 2 ms a message to its own queue, and how long until it is there.

Owns: what it feels, with times of time.monotonic(), which is one clock for all processes. Run with a port it is the neighbour;
run with "machine" it asks the machine alone: it sleeps 2 ms and writes down by how much it overslept, as any process would.
Both end when their input is closed, and then write what they felt: pairs of doubles, when (s) and how long (s).

A message that is still under way when the next is due is charged to that one too, as if it had been sent: a freeze of 100 ms is
one of 100 ms, one of 98, one of 96 and so on. So a percentile means a share of the time, not of the messages.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import sys
import time
from array import array

EVERY_S = 0.002
# Without an answer for so long it gives up: the broker has ended, or is as good as that.
PATIENCE_S = 400.0
REAL_TIME_PRIORITY = 10


def go_first() -> None:
    """Before everybody else on its core, where that is allowed: it is the broker that is measured, not the scheduler."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REAL_TIME_PRIORITY))


def is_over() -> bool:
    return bool(select.select([0], [], [], 0)[0])


def feel_broker(port: int, felt: array[float]) -> None:
    from pamqp import body, commands, header
    from raw import CONSUME_OK, DELIVER, QUEUE_DECLARE_OK, Wire, method

    wire = Wire(port)
    (peer,) = wire.connect()
    wire.call(peer, commands.Queue.Declare(queue="quiet-neighbour", exclusive=True), QUEUE_DECLARE_OK)
    wire.call(peer, commands.Basic.Consume(queue="quiet-neighbour", no_ack=True), CONSUME_OK)
    properties = header.ContentHeader(0, 8, commands.Basic.Properties(delivery_mode=1))
    publish = method(commands.Basic.Publish(routing_key="quiet-neighbour"))
    message = publish + method(properties) + method(body.ContentBody(b"anything"))  # type: ignore[arg-type]
    connected = peer.socket
    connected.setblocking(True)
    connected.settimeout(PATIENCE_S)
    go_first()
    announce()
    due_s = time.monotonic()
    count = 0
    while count % 50 or not is_over():
        count += 1
        sent_s = time.monotonic()
        try:
            connected.sendall(message)
            data = b""
            while DELIVER not in data or not data.endswith(b"anything\xce"):
                received = connected.recv(65536)
                if not received:
                    raise ConnectionError
                data += received
        except OSError:
            # Whoever reads this sees that it never ended.
            felt.extend((sent_s, float("inf")))
            return
        now_s = time.monotonic()
        felt.extend((sent_s, now_s - sent_s))
        due_s += EVERY_S
        while due_s < now_s:
            felt.extend((due_s, now_s - due_s))
            due_s += EVERY_S
        time.sleep(max(0.0, due_s - time.monotonic()))


def feel_machine(felt: array[float]) -> None:
    announce()
    count = 0
    while count % 50 or not is_over():
        count += 1
        began_s = time.monotonic()
        time.sleep(EVERY_S)
        felt.extend((began_s, time.monotonic() - began_s - EVERY_S))


def announce() -> None:
    sys.stdout.buffer.write(b"ready\n")
    sys.stdout.buffer.flush()
    gc.collect()
    gc.disable()


def main() -> None:
    felt = array("d")
    if sys.argv[1] == "machine":
        feel_machine(felt)
    else:
        feel_broker(int(sys.argv[1]), felt)
    sys.stdout.buffer.write(felt.tobytes())


if __name__ == "__main__":
    main()
