"""Every option of a load run, and the rules between them."""

from __future__ import annotations

from typing import Any

import pytest

from amqpd.cli.load import LoadError
from amqpd.cli.load.settings import SAMPLE_HEADERS, Settings


def test_run_without_an_end_lasts_ten_seconds() -> None:
    assert Settings().duration_s == 10.0
    assert Settings(count=5).duration_s == 0.0
    assert Settings(drain=True).duration_s == 0.0


def test_drain_has_no_producers() -> None:
    assert Settings(drain=True, producers=4).producers == 0


def test_what_is_drained_is_verified_for_all_who_published_it() -> None:
    assert Settings(drain=True, producers=4, verify=True).verified_producers == 4
    assert Settings(drain=True, producers=4).verified_producers == 0


def test_message_reaches_every_queue_of_a_fanout_exchange_and_else_one() -> None:
    assert Settings(exchange="x", exchange_type="fanout", queues=5).fanout == 5
    assert Settings(exchange="x", exchange_type="topic", queues=5).fanout == 1
    assert Settings(exchange="x", exchange_type="topic", queues=5, fanout=3).fanout == 3


@pytest.mark.parametrize(
    ("confirm", "batch", "expected"), [(1000, 0, 100), (50, 0, 5), (3, 0, 1), (10, 50, 10), (0, 0, 1)]
)
def test_batch_is_a_tenth_of_the_window_and_fits_into_it(confirm: int, batch: int, expected: int) -> None:
    assert Settings(confirm=confirm, batch=batch).batch == expected


def test_acknowledgement_is_due_within_the_prefetch() -> None:
    assert Settings(prefetch=10, ack_every=100).ack_every == 10
    assert Settings(prefetch=10, ack_every=0).ack_every == 0


def test_uri_takes_the_place_of_the_single_options() -> None:
    settings = Settings(uri="amqp://u:p@broker:1234/v", host="elsewhere")
    assert (settings.host, settings.port, settings.user, settings.vhost) == ("broker", 1234, "u", "v")


def test_password_is_not_in_the_representation() -> None:
    assert "secret" not in repr(Settings(password="secret"))


def test_header_pairs_come_on_top_of_the_sample_headers() -> None:
    settings = Settings(headers=True, header=["n=7", "more=true"])
    assert settings.header_fields == SAMPLE_HEADERS | {"n": 7, "more": True}


@pytest.mark.parametrize(
    "given",
    [
        {"producers": -1},
        {"rate": -1.0},
        {"producers": 0, "consumers": 0},
        {"drain": True, "consumers": 0},
        {"queues": 0},
        {"priority": 256},
        {"frame_max": 4095},
        {"prefetch": 65536},
        {"duration_s": 2.0, "warmup_s": 2.0},
        {"verify": True, "size": 15},
        {"queue_arg": ["nonsense"]},
        {"uri": "http://broker"},
    ],
)
def test_settings_that_cannot_work_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(LoadError):
        Settings(**given)


def test_queues_are_numbered_only_when_there_are_several() -> None:
    assert Settings(queue="q").queue_names == ["q"]
    assert Settings(queue="q", queues=3).queue_names == ["q-0", "q-1", "q-2"]


@pytest.mark.parametrize("connection_count", [1, 2, 3, 4, 7])
def test_every_queue_has_a_consumer_and_a_producer_whatever_their_number(connection_count: int) -> None:
    settings = Settings(queue="q", queues=4, consumers=connection_count, producers=connection_count)
    consumed = [name for number in range(connection_count) for name in settings.queues_of_consumer(number)]
    published = [name for number in range(connection_count) for name in settings.keys_of_producer(number)]
    assert sorted(set(consumed)) == sorted(set(published)) == settings.queue_names
    assert len(consumed) == max(4, connection_count)


def test_routing_keys_rotate_over_all_variants() -> None:
    settings = Settings(exchange="x", routing_key=["a.%d", "b.%p"], rk_variants=2)
    assert settings.keys_of_producer(9) == ["a.0", "b.9", "a.1", "b.9"]


def test_exchange_without_routing_key_gets_the_empty_one() -> None:
    assert Settings(exchange="x").keys_of_producer(0) == [""]


def test_only_a_named_exchange_with_a_type_is_declared() -> None:
    assert Settings(exchange="x", exchange_type="topic").owns_exchange
    assert not Settings(exchange="amq.topic", exchange_type="topic").owns_exchange
    assert not Settings(exchange="x").owns_exchange


def test_drain_ends_when_what_waited_has_come_or_the_count_is_reached() -> None:
    assert Settings(drain=True).drain_target(50) == 50
    assert Settings(drain=True, count=20).drain_target(50) == 20
    assert Settings(drain=True, count=80).drain_target(50) == 50
    assert Settings(drain=True, count=80).drain_target(0) == 80
    assert Settings(producers=0, count=80).drain_target(50) == 80
    assert Settings(producers=0).drain_target(50) == 0
