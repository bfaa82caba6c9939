"""The live view: samples in, a picture out."""

from __future__ import annotations

import io
import json

from rich.console import Console

from amqpd.cli.load.histogram import Histogram
from amqpd.cli.load.live import Picture, describe_latency, draw, read_lines, sample_fields, spark
from amqpd.cli.load.report import Totals, microseconds
from amqpd.cli.load.settings import Settings

NS = 1_000_000_000


def totals(at_s: float, published_count: int) -> Totals:
    latency = Histogram()
    latency.record(210_000, 10)
    return Totals(
        at_ns=int(at_s * NS), published_count=published_count, delivered_count=published_count, latency=latency
    )


def shown(picture: Picture) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(picture.render())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_picture_shows_the_rate_since_the_sample_before() -> None:
    picture = Picture(Settings(label="trial"))
    for at_s, published_count in ((0, 0), (0.5, 1000), (1.0, 4000)):
        picture.take(sample_fields(totals(at_s, published_count)))
    text = shown(picture)
    assert "trial" in text
    assert "6,000/s" in text
    assert "4,000" in text
    assert "1.0 s" in text
    assert "p50 0.21 ms" in text
    assert "confirmed" not in text


def test_picture_before_the_first_sample_is_empty_but_whole() -> None:
    assert "published" in shown(Picture(Settings()))
    assert "published" not in shown(Picture(Settings(drain=True)))


def test_view_ends_with_the_result() -> None:
    lines = [{"sample": sample_fields(totals(0.5, 10))}, {"result": {"delivered": 10}}, {"sample": {}}]
    stream = io.StringIO("".join(json.dumps(line) + "\n" for line in lines))
    assert draw(Settings(), read_lines(stream), Console(file=io.StringIO())) == {"delivered": 10}


def test_view_of_a_run_that_vanished_has_no_result() -> None:
    assert draw(Settings(), iter([]), Console(file=io.StringIO())) is None


def test_spark_line_scales_to_its_highest_value() -> None:
    assert spark([0, 50, 100]) == " ▄█"
    assert spark([0.0, 0.0]) == spark([]) == ""
    assert len(spark([1.0] * 100)) == 40


def test_latency_is_described_in_milliseconds() -> None:
    latency = Histogram()
    latency.record(1_500_000, 1)
    assert describe_latency(microseconds(latency)).startswith("p50 1.50 ms  p95 1.50 ms")
