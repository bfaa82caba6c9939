"""The life of a broker process: open, recover, listen, say ready, watch, stop.

Owns the start and stop order and the exit code. Does not own turns, sockets, files or the core: it joins them.

    start   logs, certificates, data directory (locked), addresses bound, recovery, core, definitions, writer, listening,
            ready line
    SIGHUP  the definitions file once more; SIGUSR1, SIGUSR2 and SIGPIPE do nothing
    stop    stop listening, 320 to every client, let them answer, everything synced, last checkpoint, clean-stop marker, exit 0

Invariant: nothing listens before recovery has ended; whatever goes wrong before the ready line is one sentence and an exit
code that is not 0; a disk that failed is not written to again, and the process ends with 74.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import uvloop

from amqpd import __version__
from amqpd.base.errors import Corrupt, UnknownFormat
from amqpd.base.limits import Limits
from amqpd.base.notice import Notice
from amqpd.base.ports import Entropy
from amqpd.broker import Broker
from amqpd.config import Address, Config
from amqpd.queues.chunk import PageRead
from amqpd.runtime import logs, memory
from amqpd.runtime.admission import Admission
from amqpd.runtime.definitions_file import BadDefinitions, load_definitions
from amqpd.runtime.door import Door, Line
from amqpd.runtime.files import DataDirectory, DataDirectoryRefused
from amqpd.runtime.log_writer import DiskEvents
from amqpd.runtime.tcp import CannotListen, Peers, bind, is_loopback
from amqpd.runtime.tls import TlsError, server_context
from amqpd.runtime.turn import Turn
from amqpd.runtime.upkeep import Upkeep
from amqpd.runtime.watch import Watch, raise_file_limit
from amqpd.store.checkpoint import Checkpoint
from amqpd.store.log import Log

EXIT_CANNOT_START: Final = 1
EXIT_OUR_BUG: Final = 70
EXIT_DISK_FAILED: Final = 74
EXIT_DAMAGED: Final = 76
# Clients have this long to answer connection.close before their sockets are simply closed.
GOODBYE_S: Final = 2.0
# When the disk turns out to be full one batch waits for room and the next one gathers: together half of the reserve.
PENDING_RESERVE_SHARE: Final = 4
PENDING_BYTES_MIN: Final = 1 << 20


class SystemEntropy(Entropy):
    def token(self, size_bytes: int) -> bytes:
        return secrets.token_bytes(size_bytes)


class HopToLoop(DiskEvents):
    """What the writer's threads report, told again in the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: Server) -> None:
        self._call = loop.call_soon_threadsafe
        self._server = server

    def synced(self, mark: int) -> None:
        self._call(self._server.turn.synced, mark)

    def failed(self, error: Exception) -> None:
        self._call(self._server.fail, error)

    def checkpoint_written(self, checkpoint: Checkpoint) -> None:
        self._call(self._server.upkeep.checkpoint_written, checkpoint)

    def checkpoint_failed(self, checkpoint: Checkpoint) -> None:
        self._call(self._server.upkeep.checkpoint_failed)

    def reads_done(self, reads: list[PageRead]) -> None:
        self._call(self._server.turn.reads_done, reads)

    def say(self, level: int, text: str) -> None:
        self._call(self._server.notices.say, [Notice(level, text)])

    def full(self) -> None:
        self._call(self._server.watch.disk_full, True)

    def has_room(self) -> None:
        self._call(self._server.watch.disk_full, False)

    def reserve(self, is_kept: bool) -> None:
        self._call(self._server.watch.reserve_kept, is_kept)

    def no_reserve(self, error: OSError) -> None:
        self._call(self._server.watch.no_reserve, error)


class Server:
    """Everything that is there once recovery has ended."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        directory: DataDirectory,
        logger: logging.Logger,
        connections_max: int,
    ) -> None:
        """`connections_max`: for how many there are descriptors."""
        self._loop = loop
        self._config = config
        self._directory = directory
        self._logger = logger
        self._doors: list[Door] = []
        self._stopping = asyncio.Event()
        self._has_said_signals = False
        self._failure: Exception | None = None
        # The failure, if it is ours and not the disk's.
        self._bug: Exception | None = None
        topology, recovered = directory.load()
        for notice in recovered.report.notices:
            logger.info("%s", notice)
        for damage in recovered.report.damage:
            logger.error("%s", damage)
        limits = _limits(config, directory.reserve.size_bytes)
        log = Log(recovered.start, limits.segment_bytes)
        try:
            self.broker = Broker(
                limits,
                log,
                topology,
                recovered,
                SystemEntropy(),
                time.monotonic_ns() // 1_000_000,
                time.time_ns() // 1_000_000,
            )
        except ValueError as error:
            # SQLite has no checksums: a row that reads well may still say what no broker would have written.
            raise Corrupt(str(directory.path / "topology.sqlite"), -1, str(error)) from error
        self._load_definitions()
        writer = directory.start_writer(recovered, HopToLoop(loop, self))
        if recovered.report.lost_messages:
            writer.note_lost(recovered.report.lost_messages)
        self.notices = logs.Notices(logger)
        self.turn = Turn(loop, self.broker, writer, self.notices)
        self.turn.on_core_error = self.core_failed
        self.upkeep = Upkeep(loop, self.turn, writer, logger)
        self.peers = Peers(self.turn, Admission(limits, connections_max), limits)
        self._line = Line(loop, self.peers)
        self.watch = Watch(loop, self.turn, self.peers, config, directory.disk, writer.make_reserve, logger)

    async def run(self, bound: list[tuple[str, Address, socket.socket]]) -> int:
        """Until a signal or a failure; the exit code."""
        self._loop.set_exception_handler(self._on_loop_error)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            self._loop.add_signal_handler(number, self._say_signals)
        # Everything that lives now lives for long. Messages make no cycles, so that looking for some among millions of
        # them is wasted: see docs/decisions/0004. Connections do: Watch collects after many were lost.
        gc.collect()
        gc.freeze()
        gc.set_threshold(500_000, 50, 1_000)
        self.turn.start_ticking()
        # What a first start created, guest and the default vhost, is durable before anybody can use it.
        await self._until_drained()
        if self._failure is None:
            self._listen(bound)
            self.watch.start()
            self.upkeep.start()
            self._say_ready(bound)
            await self._stopping.wait()
        if self._failure is not None:
            return self._give_up(self._failure)
        return await self._stop()

    def _say_signals(self) -> None:
        if not self._has_said_signals:
            self._has_said_signals = True
            self._logger.info("SIGUSR1 and SIGUSR2 do nothing; SIGHUP loads the definitions file again, SIGTERM stops")

    def _load_definitions(self) -> None:
        config = self._config
        path = config.definitions
        if path is not None:
            for notice in load_definitions(
                self.broker, path, config.definitions_is_complete, config.definitions_skip_unsupported
            ):
                self._logger.warning("%s", notice)
            self._logger.info("definitions loaded from %s", path)

    def _reload(self) -> None:
        if self._config.definitions is None:
            self._logger.info("SIGHUP: there is no definitions file to load again")
            return
        self.turn.begin()
        try:
            self._load_definitions()
        except BadDefinitions as error:
            sentence, *problems = str(error).splitlines()
            self._logger.error("%s; everything stays as it was", sentence.removesuffix(":"))
            for problem in problems:
                self._logger.error("%s", problem.strip())

    def _listen(self, bound: list[tuple[str, Address, socket.socket]]) -> None:
        config = self._config
        for scheme, _, listening in bound:
            context = None
            if scheme == "amqps":
                assert config.tls_cert is not None
                assert config.tls_key is not None
                context = server_context(config.tls_cert, config.tls_key, config.tls_ca)
            door = Door(self._loop, self.peers, listening, context, self._logger)
            door.open()
            self._doors.append(door)

    def _say_ready(self, bound: list[tuple[str, Address, socket.socket]]) -> None:
        where = " ".join(f"{scheme}://{Address(*listening.getsockname()[:2])}" for scheme, _, listening in bound)
        for scheme, address, _ in bound:
            if scheme == "amqp" and not is_loopback(address.host):
                self._logger.warning("passwords travel unencrypted to %s: consider --amqps", address)
        if os.geteuid() == 0:
            self._logger.warning("running as root: a user of its own, with nothing but the data directory, is enough")
        # On a terminal both would be seen.
        level = logging.DEBUG if sys.stdout.isatty() and sys.stderr.isatty() else logging.INFO
        self._logger.log(level, "amqpd %s is ready at %s, data in %s", __version__, where, self._directory.path)
        sys.stdout.write(f"amqpd ready: {where}\n")
        sys.stdout.flush()

    def fail(self, error: Exception) -> None:
        self._failure = error
        self._stopping.set()

    def core_failed(self, error: Exception) -> None:
        """The core raised, and may have left anything undone: the process ends, a restart recovers."""
        if self._failure is None:
            self._bug = error
            self.fail(error)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something raised in a callback. An OSError of a transport is its peer's end; any other one is ours."""
        error = context.get("exception")
        message = context.get("message")
        if not isinstance(error, Exception):
            self._logger.warning("%s", message)
        elif not isinstance(error, OSError):
            self.core_failed(error)
        elif "transport" in context or "protocol" in context:
            self._logger.info("%s: %s", message, error)
        else:
            self._logger.error("%s: %s", message, error, exc_info=error)

    def _give_up(self, error: Exception) -> int:
        """Crash-only: nothing is written any more, clients see their sockets close, a restart recovers."""
        if error is self._bug:
            self._logger.critical("the broker made an error and stops", exc_info=error)
            sys.stderr.write(f"amqpd stopped: the broker made an error: {error!r}\n")
            return EXIT_OUR_BUG
        # A sync that failed is never tried again: the kernel may have marked the pages clean.
        self._logger.critical("the log can't be written, so the broker stops: %s", error, exc_info=error)
        sys.stderr.write(f"amqpd stopped: the log in {self._directory.path} can't be written: {error}\n")
        return EXIT_DISK_FAILED

    async def _stop(self) -> int:
        self._logger.info("stopping")
        for door in self._doors:
            door.close()
        self._line.close()
        self.watch.stop()
        self.turn.begin()
        self.broker.shut_down()
        deadline_s = self._loop.time() + GOODBYE_S
        while self.turn.peers and self._loop.time() < deadline_s:
            await asyncio.sleep(0.01)
        for peer in list(self.turn.peers.values()):
            peer.abort()
        await self._last_checkpoint()
        self.turn.stop_ticking()
        if self._failure is None:
            self._directory.stop(self.broker.log_position)
        if self._failure is not None or self.watch.is_disk_full:
            return self._give_up(
                self._failure or OSError("the disk is full, and the last messages could not be written")
            )
        self._logger.info("stopped")
        return 0

    async def _last_checkpoint(self) -> None:
        """So that the next start has nothing to replay."""
        await self._until_drained()
        self.upkeep.stop()
        self.upkeep.look()
        await self._until(lambda: not self.upkeep.is_writing)
        self.turn.begin()
        self.broker.begin_checkpoint()
        await self._until_drained()
        self.upkeep.look()
        await self._until(lambda: not self.upkeep.is_writing)

    async def _until_drained(self) -> None:
        """Everything is synced."""
        drained = asyncio.ensure_future(self.turn.drained())
        await self._until(drained.done)
        drained.cancel()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Or until the disk has failed, or is too full for what we are to finish."""
        while not condition() and self._failure is None:
            if self._stopping.is_set() and self.watch.is_disk_full:
                return
            await asyncio.sleep(0.002)


def serve(config: Config) -> int:
    """Run until told to stop; the exit code."""
    memory.keep_heap()
    # Until the loop has its own say in them: a start may take long, and none of these is to end it.
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    logger = logs.set_up(config.log_level, config.log_format)
    for warning in config.warnings:
        logger.warning("%s", warning)
    try:
        if config.tls_cert is not None and config.tls_key is not None:
            server_context(config.tls_cert, config.tls_key, config.tls_ca)
        directory = DataDirectory(config.data_dir, logger.warning, config.disk_settle_reserve_bytes)
        addresses = [("amqp", each) for each in config.amqp] + [("amqps", each) for each in config.amqps]
        bound = [(scheme, address, each) for scheme, address in addresses for each in bind(address)]
        connections_max = raise_file_limit(config.limits.connections_max, logger)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(config, directory, bound, logger, connections_max))
    except (BadDefinitions, CannotListen, DataDirectoryRefused, TlsError, UnknownFormat) as error:
        return _refuse(str(error), EXIT_CANNOT_START)
    except Corrupt as error:
        return _refuse(f"the data directory {config.data_dir} is damaged: {error}", EXIT_DAMAGED)
    except OSError as error:
        return _refuse(f"{error.filename or config.data_dir}: {error.strerror or error}", EXIT_CANNOT_START)


def _limits(config: Config, reserve_bytes: int) -> Limits:
    """As set, but what waits for the disk must fit in the reserve, with room left for settles."""
    limits = config.limits
    if reserve_bytes == 0:
        return limits
    most = max(PENDING_BYTES_MIN, reserve_bytes // PENDING_RESERVE_SHARE)
    return dataclasses.replace(limits, unconfirmed_bytes_max=min(limits.unconfirmed_bytes_max, most))


async def _serve(
    config: Config,
    directory: DataDirectory,
    bound: list[tuple[str, Address, socket.socket]],
    logger: logging.Logger,
    connections_max: int,
) -> int:
    return await Server(asyncio.get_running_loop(), config, directory, logger, connections_max).run(bound)


def _refuse(sentence: str, code: int) -> int:
    sys.stderr.write(f"amqpd can't start: {sentence}\n")
    return code
