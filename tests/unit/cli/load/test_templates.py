"""Messages encoded once, open where the stamp goes."""

from __future__ import annotations

import pytest
from pamqp import body, commands, frame, header

from amqpd.cli.load import LoadError
from amqpd.cli.load.publisher import Template
from amqpd.cli.load.settings import Settings
from amqpd.cli.load.templates import build_templates


def frames_of(template: Template) -> list[object]:
    """What pamqp reads from a message that is stamped with zeros."""
    data = template.head + bytes(template.stamp_bytes) + template.tail
    found: list[object] = []
    while data:
        size, channel, each = frame.unmarshal(data)
        assert channel == 1
        found.append(each)
        data = data[size:]
    return found


@pytest.mark.parametrize("size", [0, 1, 7, 8, 15, 16, 128, 4088, 4089, 20000])
def test_message_is_publish_header_and_bodies_within_frame_max(size: int) -> None:
    template = build_templates(Settings(size=size, queue="q"), 0, 4096)[0]
    publish, content, *bodies = frames_of(template)
    assert isinstance(publish, commands.Basic.Publish)
    assert (publish.exchange, publish.routing_key, publish.mandatory) == ("", "q", False)
    assert isinstance(content, header.ContentHeader)
    assert content.body_size == size
    sizes = []
    for each in bodies:
        assert isinstance(each, body.ContentBody)
        sizes.append(len(each.value or b""))
    assert sum(sizes) == size
    assert all(0 < length <= 4088 for length in sizes)
    assert template.size == len(template.head) + template.stamp_bytes + len(template.tail)


@pytest.mark.parametrize(("size", "stamp_bytes"), [(7, 0), (8, 8), (15, 8), (16, 16), (128, 16)])
def test_stamp_is_as_long_as_the_body_has_room_for(size: int, stamp_bytes: int) -> None:
    assert build_templates(Settings(size=size), 0, 4096)[0].stamp_bytes == stamp_bytes


def test_properties_are_what_the_settings_say() -> None:
    settings = Settings(persistent=True, header=["a=1", "b=s:1"], priority=7, mandatory=True, exchange="x")
    publish, content, _ = frames_of(build_templates(settings, 0, 4096)[0])
    assert isinstance(publish, commands.Basic.Publish)
    assert isinstance(content, header.ContentHeader)
    assert publish.mandatory
    assert (content.properties.delivery_mode, content.properties.priority) == (2, 7)
    assert content.properties.headers == {"a": 1, "b": "1"}


def test_every_pair_of_priority_and_routing_key_has_its_template() -> None:
    settings = Settings(exchange="x", routing_key=["k%d"], rk_variants=2, priorities=3)
    seen = []
    for template in build_templates(settings, 0, 4096):
        publish, content, _ = frames_of(template)
        assert isinstance(publish, commands.Basic.Publish)
        assert isinstance(content, header.ContentHeader)
        seen.append((content.properties.priority, publish.routing_key))
    assert seen == [(priority, key) for priority in range(3) for key in ("k0", "k1")]


def test_more_templates_than_memory_is_worth_are_refused() -> None:
    with pytest.raises(LoadError, match="too many"):
        build_templates(Settings(exchange="x", routing_key=["%d"], rk_variants=2000, size=1 << 20), 0, 4096)
