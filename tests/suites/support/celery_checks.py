"""A small real Celery application, end to end: prefork workers, results over rpc://. Run by run-celery with pytest."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

WORK = Path(os.environ["WORK"])
NOTES = WORK / "notes"
os.environ.setdefault("CELERY_PREFIX", f"cel{os.getpid()}")
os.environ.setdefault("CELERY_NOTES", str(NOTES))

import pytest  # noqa: E402
from celery import chain, group  # noqa: E402
from celery_app import (  # noqa: E402
    PREFIX,
    add,
    app,
    dead_letters,
    expiring,
    failing,
    flaky,
    late,
    mark,
    priorities,
    queues,
    rejecting,
    sleeping,
    slow_mark,
)
from kombu import Connection  # noqa: E402

workers: list[subprocess.Popen] = []


def start(name, *queue_names, concurrency=2, broker=None):
    log = WORK / f"{name}.worker.log"
    command = [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "--loglevel", "INFO", "--without-mingle"]
    command += [
        "-c",
        str(concurrency),
        "-n",
        f"{name}@check",
        "-Q",
        ",".join(f"{PREFIX}-{queue}" for queue in queue_names),
    ]
    with open(log, "w") as output:
        worker = subprocess.Popen(
            command,
            cwd=Path(__file__).parent,
            env={**os.environ, "C_FORCE_ROOT": "1", **({"CELERY_BROKER": broker} if broker else {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    workers.append(worker)
    until(lambda: "ready." in log.read_text(), 40)
    return worker


def stop(worker, number=signal.SIGTERM):
    try:
        if number == signal.SIGKILL:
            os.killpg(worker.pid, number)
        else:
            worker.send_signal(number)
    except ProcessLookupError:
        pass
    worker.wait(15)
    workers.remove(worker)


def notes(beginning=""):
    return [line for line in NOTES.read_text().splitlines() if line.startswith(beginning)]


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)


def next_dead_letter():
    """The next message in the queue of dead letters, or None."""
    with Connection(app.conf.broker_url) as connection:
        message = dead_letters(connection.channel()).get(no_ack=True)
        return message.headers["x-death"][0] if message else None


@pytest.fixture(autouse=True)
def no_notes():
    NOTES.write_text("")


@pytest.fixture(scope="module", autouse=True)
def worker():
    NOTES.write_text("")
    with Connection(app.conf.broker_url) as connection:
        channel = connection.channel()
        for queue in queues:
            queue(channel).declare()
    yield start("main", "default", "topic", "rejecting")
    for left in list(workers):
        stop(left, signal.SIGKILL)
    with Connection(app.conf.broker_url) as connection:
        channel = connection.channel()
        for queue in queues:
            channel.queue_delete(queue.name)
            channel.exchange_delete(queue.exchange.name)


def test_result():
    assert add.delay(2, 3).get(timeout=10) == 5


def test_many_results():
    results = [add.delay(i, i) for i in range(100)]
    assert [result.get(timeout=20) for result in results] == [2 * i for i in range(100)]


def test_failure_comes_back():
    with pytest.raises(ValueError, match="as it should"):
        failing.delay().get(timeout=10)


def test_retries():
    assert flaky.delay(2).get(timeout=15) == 2
    assert notes("flaky") == ["flaky 0", "flaky 1", "flaky 2"]


def test_countdown():
    began = time.monotonic()
    assert add.apply_async((1, 1), countdown=2).get(timeout=10) == 2
    assert 1.9 <= time.monotonic() - began < 6


def test_eta_does_not_block_others():
    held = add.apply_async((1, 1), countdown=4)
    assert add.delay(5, 5).get(timeout=3) == 10
    assert held.get(timeout=10) == 2


def test_expires():
    result = add.apply_async((1, 1), countdown=2, expires=1)
    time.sleep(3)
    assert not result.ready() or result.state == "REVOKED"


def test_group():
    assert group(add.s(i, 1) for i in range(10)).apply_async().get(timeout=15) == list(range(1, 11))


def test_chain():
    assert chain(add.s(1, 2), add.s(3), add.s(4)).apply_async().get(timeout=15) == 10


def test_topic_routing():
    mark.apply_async(("topic",), exchange=f"{PREFIX}-topic", routing_key="job.a.b")
    until(lambda: notes("mark topic"))


def test_reject_dead_letters():
    rejecting.apply_async(exchange=f"{PREFIX}-rejecting", routing_key="rejecting")
    deaths = []
    until(lambda: deaths or deaths.extend(filter(None, [next_dead_letter()])))
    assert (deaths[0]["reason"], deaths[0]["queue"], deaths[0]["count"]) == ("rejected", f"{PREFIX}-rejecting", 1)


def test_queue_ttl_dead_letters():
    mark.apply_async(("never",), exchange=expiring.exchange.name, routing_key="expiring")
    deaths = []
    until(lambda: deaths or deaths.extend(filter(None, [next_dead_letter()])))
    assert (deaths[0]["reason"], deaths[0]["queue"], notes()) == ("expired", expiring.name, [])


def test_ping():
    assert app.control.ping(timeout=3) == [{"main@check": {"ok": "pong"}}]


def test_inspect():
    inspect = app.control.inspect(timeout=3)
    assert "celery_app.add" in inspect.registered()["main@check"]
    consumed = {queue["name"] for queue in inspect.active_queues()["main@check"]}
    assert consumed == {f"{PREFIX}-default", f"{PREFIX}-topic", f"{PREFIX}-rejecting"}
    assert inspect.stats()["main@check"]["broker"]["port"] == int(os.environ["AMQP_PORT"])


def test_revoke():
    result = mark.apply_async(("revoked",), countdown=3)
    time.sleep(0.5)
    app.control.revoke(result.id)
    time.sleep(4)
    assert not notes("mark revoked")


def test_revoke_terminate():
    result = sleeping.delay(30)

    def active():
        return [task for tasks in (app.control.inspect(timeout=1).active() or {}).values() for task in tasks]

    until(active)
    result.revoke(terminate=True)
    until(lambda: not active())


def test_add_and_cancel_consumer():
    name = f"{PREFIX}-extra-{uuid.uuid4().hex[:6]}"
    assert app.control.add_consumer(name, reply=True, timeout=3)
    mark.apply_async(("extra",), queue=name)
    until(lambda: notes("mark extra"))
    assert app.control.cancel_consumer(name, reply=True, timeout=3)
    mark.apply_async(("after-cancel",), queue=name)
    time.sleep(1)
    assert not notes("mark after-cancel")
    with Connection(app.conf.broker_url) as connection:
        assert connection.channel().queue_delete(name) == 1


def test_events():
    seen = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": lambda event: seen.append(event["type"])})
        with receiver.consumer_context(wakeup=False):
            add.delay(1, 2)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and "task-succeeded" not in seen:
                try:
                    connection.drain_events(timeout=1)
                except OSError:
                    pass
    assert {"task-sent", "task-received", "task-started", "task-succeeded"} <= set(seen)


def test_purge():
    with Connection(app.conf.broker_url) as connection:
        queue = priorities(connection.channel())
        for priority in range(5):
            mark.apply_async((priority,), exchange=queue.exchange.name, routing_key="priorities", priority=priority)
        assert queue.queue_declare(passive=True).message_count == 5
        assert queue.purge() == 5


def test_priority():
    for index, priority in enumerate([1, 9, 5, 9, 1, 5]):
        what = f"p{priority}-{index}"
        slow_mark.apply_async((what,), exchange=priorities.exchange.name, routing_key="priorities", priority=priority)
    worker = start("priorities", "priorities", concurrency=1)
    until(lambda: len(notes("mark p")) == 6, 15)
    stop(worker)
    assert notes("mark p") == [f"mark {what}" for what in ("p9-1", "p9-3", "p5-2", "p5-5", "p1-0", "p1-4")]


def test_acks_late_survives_killed_worker():
    worker = start("late1", "late", concurrency=1)
    result = late.apply_async((4,), exchange=f"{PREFIX}-late", routing_key="late")
    until(lambda: notes(f"late {result.id}"))
    stop(worker, signal.SIGKILL)
    worker = start("late2", "late", concurrency=1)
    assert result.get(timeout=20) == "done"
    assert notes(f"late {result.id}") == [f"late {result.id} redelivered={again}" for again in (False, True)]
    stop(worker)


def test_warm_shutdown_keeps_unstarted_tasks():
    worker = start("late3", "late", concurrency=1)
    for index in range(6):
        slow_mark.apply_async((f"w{index}", 1.0), exchange=f"{PREFIX}-late", routing_key="late")
    until(lambda: notes("mark w0"))
    stop(worker)
    assert len(notes("mark w")) < 6
    worker = start("late4", "late", concurrency=1)
    until(lambda: len(set(notes("mark w"))) == 6, 20)
    stop(worker)


def test_worker_reconnects_when_its_connection_is_cut():
    with CuttableProxy((os.environ["AMQP_HOST"], int(os.environ["AMQP_PORT"]))) as proxy:
        user = f"{os.environ['AMQP_USER']}:{os.environ['AMQP_PASS']}"
        worker = start("cut", "late", concurrency=1, broker=f"amqp://{user}@127.0.0.1:{proxy.port}//")
        assert proxy.cut() > 0
        slow_mark.apply_async(("reconnected",), exchange=f"{PREFIX}-late", routing_key="late")
        until(lambda: notes("mark reconnected"), 20)
        assert proxy.accepted_count > 1
        stop(worker)


class CuttableProxy:
    """Passes bytes on between clients and a server, until `cut` ends every connection there is."""

    def __init__(self, server):
        self._server = server
        self._pairs = []
        self.accepted_count = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()
        self.cut()

    def cut(self):
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        return len(pairs)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted_count += 1
            server = socket.create_connection(self._server)
            self._pairs.append((client, server))
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    @staticmethod
    def _pass_on(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
