"""Dead-lettering as a load: a queue full of messages whose TTL runs out, and the queue where their dead letters gather.

Owns: one measured run against one broker. The clock runs from the last look at which none had arrived until the look at
which all had: looks are passive declares, one after the other. Nobody consumes.
"""

from __future__ import annotations

import subprocess
import time

from brokers import Broker
from pamqp import commands

from amqpd.cli.load import LoadError
from amqpd.cli.load.client import LoadConnection
from amqpd.cli.load.settings import Settings

SOURCE, DEAD = "bench-expiring", "bench-dead"
# RabbitMQ must have taken in the last message before the first one expires: this many come in per millisecond at least.
PUBLISH_PER_MS = 16
TTL_MS_MIN = 5_000
LOOK_EVERY_S = 0.01
# A broker that is busy with dead letters may not answer for a while.
ANSWER_S = 300.0
RUN_S = 1200.0


def ttl_ms(count: int) -> int:
    return max(TTL_MS_MIN, count // PUBLISH_PER_MS)


def run_dead_lettering(generator: list[str], broker: Broker, count: int) -> dict[str, object]:
    """Keys as those of the load generator, and `dead_letter_rate`."""
    control = LoadConnection.open(Settings(port=broker.port, timeout_s=ANSWER_S), "control")
    try:
        return _run(generator, broker, count, control)
    except (LoadError, subprocess.SubprocessError) as error:
        return {"error": str(error)}
    finally:
        for queue in (SOURCE, DEAD):
            control.call(commands.Queue.Delete(queue=queue), commands.Queue.DeleteOk)
        control.close()


def _run(generator: list[str], broker: Broker, count: int, control: LoadConnection) -> dict[str, object]:
    control.call(commands.Queue.Declare(queue=DEAD, durable=True), commands.Queue.DeclareOk)
    where = ["--json", "--port", str(broker.port), "--queue", SOURCE, "--durable", "--persistent", "--confirm", "1000"]
    how = ["--consumers", "0", "--count", str(count), "--linger", "600"]
    for argument in (f"x-message-ttl={ttl_ms(count)}", "x-dead-letter-exchange=", f"x-dead-letter-routing-key={DEAD}"):
        how += ["--queue-arg", argument]
    done = subprocess.run([*generator, *where, *how], capture_output=True, text=True, timeout=RUN_S, check=False)
    if done.returncode != 0:
        return {"error": done.stderr.strip()[-500:] or f"the generator ended with {done.returncode}"}
    if look(control, DEAD) > 0:
        return {"error": f"the first message had expired before the last of {count} was published"}
    began = last = time.perf_counter()
    longest_s = 0.0
    came = 0
    while came < count and last - began < RUN_S:
        time.sleep(LOOK_EVERY_S)
        asked = time.perf_counter()
        came = look(control, DEAD)
        last = time.perf_counter()
        longest_s = max(longest_s, last - asked)
        if came == 0:
            began = last
    return {
        "published": count,
        "confirm": True,
        "confirmed": count,
        "expected": count,
        "delivered": came,
        "left": look(control, SOURCE),
        "dead_letter_rate": came / (last - began) if last > began else 0.0,
        "longest_answer_ms": round(longest_s * 1e3, 1),
    }


def look(control: LoadConnection, queue: str) -> int:
    answer = control.call(commands.Queue.Declare(queue=queue, passive=True), commands.Queue.DeclareOk)
    assert isinstance(answer, commands.Queue.DeclareOk)
    return answer.message_count or 0
