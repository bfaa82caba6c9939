"""The queues, exchange, bindings and consumers that a run needs, declared before it and removed after it.

Owns: the order of those calls. Does not own the connection or the names.
"""

from __future__ import annotations

from pamqp import commands

from amqpd.cli.load.arguments import expand
from amqpd.cli.load.client import LoadConnection
from amqpd.cli.load.settings import Settings


def declare(control: LoadConnection, settings: Settings) -> int:
    """Declare (or look up) everything; returns how many messages already wait."""
    if settings.owns_exchange and not settings.no_declare:
        exchange = commands.Exchange.Declare(
            exchange=settings.exchange,
            exchange_type=settings.exchange_type,
            durable=settings.durable,
            arguments=dict(settings.exchange_arguments),
        )
        control.call(exchange, commands.Exchange.DeclareOk)
    ready_count = 0
    for number, name in enumerate(settings.queue_names):
        waiting_count = declare_queue(control, settings, name, passive=settings.no_declare)
        if settings.purge:
            control.call(commands.Queue.Purge(queue=name), commands.Queue.PurgeOk)
        else:
            ready_count += waiting_count
        if not settings.no_declare and settings.exchange and (settings.bind or settings.owns_exchange):
            _bind(control, settings, name, number)
    return ready_count


def declare_queue(control: LoadConnection, settings: Settings, name: str, *, passive: bool) -> int:
    """How many messages wait in the queue."""
    queue = commands.Queue.Declare(
        queue=name,
        passive=passive,
        durable=settings.durable and not passive,
        auto_delete=settings.auto_delete and not passive,
        arguments={} if passive else dict(settings.queue_arguments),
    )
    answer = control.call(queue, commands.Queue.DeclareOk)
    assert isinstance(answer, commands.Queue.DeclareOk)
    return int(answer.message_count or 0)


def _bind(control: LoadConnection, settings: Settings, name: str, number: int) -> None:
    for binding in settings.bind or ("",):
        bind = commands.Queue.Bind(
            queue=name,
            exchange=settings.exchange,
            routing_key=expand(binding, number),
            arguments=dict(settings.binding_arguments),
        )
        control.call(bind, commands.Queue.BindOk)


def consume(consumer: LoadConnection, settings: Settings, number: int) -> None:
    """Subscribe; deliveries begin at once."""
    for queue in settings.queues_of_consumer(number):
        method = commands.Basic.Consume(
            queue=queue,
            consumer_tag=f"c{number}-{queue}",
            no_ack=not settings.ack_every,
            arguments=dict(settings.consumer_arguments),
        )
        consumer.call(method, commands.Basic.ConsumeOk)


def count_left(control: LoadConnection, settings: Settings) -> int:
    """How many messages the run left behind; -1 when the queues went with their consumers."""
    if settings.auto_delete and settings.consumers:
        return -1
    return sum(declare_queue(control, settings, name, passive=True) for name in settings.queue_names)


def delete(control: LoadConnection, settings: Settings) -> None:
    for name in settings.queue_names:
        control.call(commands.Queue.Delete(queue=name), commands.Queue.DeleteOk)
    if settings.owns_exchange:
        control.call(commands.Exchange.Delete(exchange=settings.exchange), commands.Exchange.DeleteOk)
