"""What a load run is to do: every option of `amqpd bench`, its default and its help, validated before the first connection.

Owns: the options, the rules between them, and how queues and routing keys are spread over connections.
Invariant: a Settings that exists can be run; defaults that depend on other options are filled in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from amqpd.cli.load import LoadError
from amqpd.cli.load.arguments import Field, expand, parse_count, parse_fields, parse_number, parse_uri

SAMPLE_HEADERS: dict[str, Field] = {
    "app": "amqpd",
    "n": 42,
    "flag": True,
    "trace-id": "4bf92f3577b34da6a3ce929d0e0e4736",
}
DURATION_S = 10.0
BATCH_COUNT = 100


def _option(panel: str, names: str, text: str = "", **more: Any) -> Any:
    return typer.Option(*names.split(), help=text or None, rich_help_panel=panel, **more)


def _number(parse: Any, names: str, panel: str, text: str = "", **more: Any) -> Any:
    def read(value: object) -> float:
        # A default comes here as the number that it is.
        try:
            return parse(str(value)) if isinstance(value, str) else value  # type: ignore[return-value]
        except LoadError as error:
            raise typer.BadParameter(str(error)) from None

    more.setdefault("metavar", "N")
    return _option(panel, names, text, parser=read, **more)


def _broker(names: str, text: str = "", **more: Any) -> Any:
    return _option("Broker", names, text, **more)


def _queue(names: str, text: str = "", **more: Any) -> Any:
    return _option("Queues and exchange", names, text, **more)


def _message(names: str, text: str = "", **more: Any) -> Any:
    return _option("Messages", names, text, **more)


def _pace(names: str, text: str = "", **more: Any) -> Any:
    return _option("Pace and end", names, text, **more)


def _count(names: str, text: str = "", panel: str = "Pace and end", **more: Any) -> Any:
    return _number(parse_count, names, panel, text, **more)


_UNSHOWN: dict[str, Any] = {"show_default": False}
_PAIR: dict[str, Any] = {"metavar": "K=V"}
_KEY: dict[str, Any] = {"metavar": "KEY"}
_SECONDS: dict[str, Any] = {"metavar": "S"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    uri: Annotated[str, _broker("--uri", "amqp://user:password@host:port/vhost instead of the next five")] = ""
    host: Annotated[str, _broker("--host")] = "127.0.0.1"
    port: Annotated[int, _broker("--port")] = 5672
    user: Annotated[str, _broker("--user")] = "guest"
    password: Annotated[str, _broker("--password")] = field(default="guest", repr=False)
    vhost: Annotated[str, _broker("--vhost")] = "/"
    pid: Annotated[int, _broker("--pid", "report CPU, memory and disk writes of this process tree")] = 0
    heartbeat_s: Annotated[int, _broker("--heartbeat", "0 for none", **_SECONDS)] = 0
    frame_max: Annotated[int, _broker("--frame-max")] = 131072
    timeout_s: Annotated[float, _broker("--timeout", "how long to wait for an answer", **_SECONDS)] = 15.0

    producers: Annotated[int, _queue("--producers", "each is its own connection")] = 1
    consumers: Annotated[int, _queue("--consumers", "each is its own connection")] = 1
    queue: Annotated[str, _queue("--queue")] = "amqpd-bench"
    queues: Annotated[int, _queue("--queues", "with more than one NAME-0, NAME-1, ..., spread round robin")] = 1
    durable: Annotated[bool, _queue("--durable", "queues, and the exchange")] = False
    auto_delete: Annotated[bool, _queue("--auto-delete")] = False
    no_declare: Annotated[bool, _queue("--no-declare", "use queues and exchange as they are")] = False
    queue_arg: Annotated[
        list[str] | None, _queue("--queue-arg", "integer, true or false, else a string (s:12 forces one)", **_PAIR)
    ] = None
    exchange: Annotated[str, _queue("--exchange", "publish to this exchange")] = ""
    exchange_type: Annotated[str, _queue("--exchange-type", "declare the exchange, bind the queues to it")] = ""
    exchange_arg: Annotated[list[str] | None, _queue("--exchange-arg", **_PAIR)] = None
    bind: Annotated[
        list[str] | None, _queue("--bind", "bind every queue with it; %d is the queue's number", **_KEY)
    ] = None
    bind_arg: Annotated[list[str] | None, _queue("--bind-arg", **_PAIR)] = None
    fanout: Annotated[
        int, _queue("--fanout", "queues that a message reaches (default: all for a fanout, else 1)", **_UNSHOWN)
    ] = 0
    purge: Annotated[bool, _queue("--purge", "empty the queues before the run")] = False
    delete: Annotated[bool, _queue("--delete", "delete queues and exchange after the run")] = False

    size: Annotated[int, _count("--size", "bytes of a body", "Messages")] = 128
    persistent: Annotated[bool, _message("--persistent")] = False
    routing_key: Annotated[
        list[str] | None,
        _message("--routing-key", "rotate over these; %d is 0..variants-1, %p the producer's number", **_KEY),
    ] = None
    rk_variants: Annotated[int, _message("--rk-variants", "how many values %d takes")] = 1
    headers: Annotated[bool, _message("--headers", "a typical header table of four entries")] = False
    header: Annotated[list[str] | None, _message("--header", **_PAIR)] = None
    priority: Annotated[int, _message("--priority", "of every message; -1 for none")] = -1
    priorities: Annotated[int, _message("--priorities", "rotate over 0..N-1")] = 0
    mandatory: Annotated[bool, _message("--mandatory")] = False

    confirm: Annotated[int, _count("--confirm", "confirms, at most so many outstanding per producer; 0 for none")] = 0
    batch: Annotated[
        int, _count("--batch", "publish when so many fit (default: a tenth of --confirm, at most 100)", **_UNSHOWN)
    ] = 0
    prefetch: Annotated[int, _count("--prefetch", "0 for no limit")] = 0
    ack_every: Annotated[int, _count("--ack-every", "1: each message, N: each Nth with multiple, 0: no-ack")] = 1
    consumer_arg: Annotated[list[str] | None, _pace("--consumer-arg", **_PAIR)] = None
    rate: Annotated[
        float, _number(parse_number, "--rate", "Pace and end", "messages a second in total; 0: as fast as possible")
    ] = 0.0
    duration_s: Annotated[
        float, _pace("--duration", "(default: 10, without --count and --drain)", **_SECONDS, **_UNSHOWN)
    ] = 0.0
    count: Annotated[int, _count("--count", "messages of each producer; with --drain in total")] = 0
    warmup_s: Annotated[float, _pace("--warmup", "leave the first out of rates and percentiles", **_SECONDS)] = 0.0
    drain: Annotated[bool, _pace("--drain", "only consume, until the queues are empty")] = False
    linger_s: Annotated[float, _pace("--linger", "how long to wait for the rest at the end", **_SECONDS)] = 15.0
    idle_s: Annotated[float, _pace("--idle", "so long without a delivery means that none comes", **_SECONDS)] = 3.0
    verify: Annotated[
        bool, _pace("--verify", "check the order of every producer's messages, also of those before --drain")
    ] = False
    buffer: Annotated[int, _count("--buffer", "bytes published at once, at most")] = 262144
    label: Annotated[str, _option("Output", "--label", "text for the result")] = ""

    # Read from the texts above.
    queue_arguments: dict[str, Field] = field(init=False)
    exchange_arguments: dict[str, Field] = field(init=False)
    binding_arguments: dict[str, Field] = field(init=False)
    consumer_arguments: dict[str, Field] = field(init=False)
    header_fields: dict[str, Field] = field(init=False)
    # Whose messages are looked at; what is drained was published by another run.
    verified_producers: int = field(init=False)

    def __post_init__(self) -> None:
        filled: dict[str, object] = {
            **(parse_uri(self.uri) if self.uri else {}),
            "queue_arguments": parse_fields(self.queue_arg),
            "exchange_arguments": parse_fields(self.exchange_arg),
            "binding_arguments": parse_fields(self.bind_arg),
            "consumer_arguments": parse_fields(self.consumer_arg),
            "header_fields": (SAMPLE_HEADERS if self.headers else {}) | parse_fields(self.header),
            "producers": 0 if self.drain else self.producers,
            "verified_producers": self.producers if self.verify else 0,
            "duration_s": self.duration_s if self.duration_s or self.count or self.drain else DURATION_S,
            "fanout": self.fanout or (self.queues if self.exchange_type == "fanout" else 1),
            "batch": max(1, min(self.batch or min(self.confirm // 10, BATCH_COUNT), self.confirm)),
            # A consumer can't reach an acknowledgement that lies beyond its prefetch.
            "ack_every": min(self.ack_every, self.prefetch) if self.prefetch else self.ack_every,
        }
        for name, value in filled.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        for name in (
            "producers",
            "consumers",
            "size",
            "confirm",
            "prefetch",
            "ack_every",
            "count",
            "rate",
            "duration_s",
        ):
            if getattr(self, name) < 0:
                raise LoadError(f"--{name.removesuffix('_s').replace('_', '-')} must not be negative")
        if not self.producers and not self.consumers:
            raise LoadError("nothing to do: no producers, no consumers")
        if self.queues < 1 or self.rk_variants < 1:
            raise LoadError("there must be at least one queue and one routing key variant")
        if not -1 <= self.priority <= 255 or not 0 <= self.priorities <= 256:
            raise LoadError("a priority is 0..255")
        if self.frame_max < 4096:
            raise LoadError("--frame-max is at least 4096")
        if self.prefetch > 65535:
            raise LoadError("--prefetch is at most 65535")
        if self.duration_s and self.warmup_s >= self.duration_s:
            raise LoadError("--warmup must be shorter than --duration")
        if self.verify and self.size < 16:
            raise LoadError("--verify needs a --size of 16 or more: the sequence number stands in the body")

    @property
    def queue_names(self) -> list[str]:
        if self.queues == 1:
            return [self.queue]
        return [f"{self.queue}-{number}" for number in range(self.queues)]

    @property
    def owns_exchange(self) -> bool:
        """Whether the exchange is declared by this run."""
        return bool(self.exchange and self.exchange_type) and not self.exchange.startswith("amq.")

    def queues_of_consumer(self, number: int) -> list[str]:
        names = self.queue_names
        if self.consumers >= self.queues:
            return [names[number % self.queues]]
        return names[number :: self.consumers]

    def keys_of_producer(self, number: int) -> list[str]:
        """The routing keys that one producer rotates over."""
        if self.routing_key:
            variants = range(self.rk_variants)
            return [expand(key, variant, number) for variant in variants for key in self.routing_key]
        if self.exchange:
            return [""]
        names = self.queue_names
        if self.producers >= self.queues:
            return [names[number % self.queues]]
        return names[number :: self.producers]

    def drain_target(self, ready_count: int) -> int:
        """How many deliveries end a run without producers, when `ready_count` wait; 0 when their number is open."""
        if not self.drain:
            return self.count
        return min(self.count, ready_count) if self.count and ready_count else self.count or ready_count
