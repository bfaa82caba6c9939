"""tx.select, commit and rollback: what was held is done, all of it in one turn, or none of it.

Does not own what is held (tx.py), nor how a message is published or settled (channel.py). Whatever may refuse a commit is
looked at before anything is done.
"""

from __future__ import annotations

from pamqp import commands

from amqpd.base.errors import PreconditionFailed
from amqpd.channels.channel import Channel
from amqpd.channels.settling import ACK, REQUEUE
from amqpd.channels.tx import HeldPublish, Transaction
from amqpd.vhosts.deduplication import is_overtaken
from amqpd.vhosts.publish import Room, first_time
from amqpd.vhosts.routing import DEFAULT_EXCHANGE, Route, find_route, split_route_key
from amqpd.vhosts.vhost import VHost
from amqpd.wire.methods import encode_method, new_method


def on_tx_select(channel: Channel) -> None:
    if channel.confirms is not None:
        raise PreconditionFailed("cannot switch from confirm to tx mode")
    if channel.transaction is None:
        channel.transaction = Transaction(channel.session.limits)
    channel.session.reply(channel.number, encode_method(new_method(commands.Tx.SelectOk)))


def on_tx_commit(channel: Channel) -> None:
    if channel.transaction is None:
        raise PreconditionFailed("channel is not transactional")
    _commit(channel)
    channel.session.reply_when_durable(channel.number, encode_method(new_method(commands.Tx.CommitOk)))


def on_tx_rollback(channel: Channel) -> None:
    if channel.transaction is None:
        raise PreconditionFailed("channel is not transactional")
    channel.transaction.clear()
    channel.session.reply(channel.number, encode_method(new_method(commands.Tx.RollbackOk)))


def _commit(channel: Channel) -> None:
    transaction = channel.transaction
    assert transaction is not None
    vhost = channel.session.vhost
    publishes = transaction.publishes
    routes = [_route_at_commit(vhost, publish) for publish in publishes]
    _check_room(publishes, routes)
    settles = transaction.clear()
    for publish, route in zip(publishes, routes, strict=True):
        if is_overtaken(route):
            route = _route_at_commit(vhost, publish)
        is_taken = channel.publish_inspected(route, publish.route_key, publish.body, publish.seen, publish.mandatory)
        assert is_taken, "there was room for all of it"
    for settle in settles:
        channel.unacked.take(settle.delivery_tag)
        if settle.verdict == ACK:
            channel.give_credit_back(settle.entry)
            settle.entry.queue.settle(settle.entry)
        else:
            channel.reject(settle.entry, settle.verdict == REQUEUE)


def _check_room(publishes: list[HeldPublish], routes: list[Route]) -> None:
    """A queue that refuses one message refuses the transaction: all or nothing. (RabbitMQ keeps the others.)"""
    room = Room()
    for publish, route in zip(publishes, routes, strict=True):
        # Two with one id in one transaction count twice here: the second may be refused room that it would not need.
        if not room.takes(first_time(route, publish.seen.headers), len(publish.body)):
            raise PreconditionFailed("partial tx completion")


def _route_at_commit(vhost: VHost, publish: HeldPublish) -> Route:
    """By the names and bindings of now. An exchange that went away since the publish routes nowhere."""
    exchange_name, routing_key = split_route_key(publish.route_key)
    if exchange_name not in vhost.exchanges:
        return Route(vhost.find_exchange(DEFAULT_EXCHANGE), routing_key, [], False)
    seen = publish.seen
    return find_route(vhost, exchange_name, [routing_key, *seen.extra_routing_keys], seen.headers, seen.header)
