"""Spoiled sessions against a broker, by the million: python -m tests.fuzz.run_streams --count 1000000 --seed 1

Looks for: an exception that escapes, 541 INTERNAL_ERROR, output that is not frames, whole and cut-up input that give
different answers, anything of a connection that outlives it, memory that grows. Exits with 1 and the seed of the stream
at the first fault; `--only SEED` feeds that one stream again.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback

import amqpd.broker
from tests.fuzz.streams import (
    HANDSHAKE,
    PROTOCOL_HEADER,
    SESSIONS,
    Trial,
    depends_on_turns,
    difference,
    split_output,
    spoil,
    spoil_bytes,
)

# One broker takes this many streams, so that what one leaves behind meets the next.
STREAMS_PER_BROKER = 200
COMPARED_SHARE = 0.05
HANDSHAKE_SHARE = 0.1


def rss_kib() -> int:
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


class Stream:
    """One spoiled session, all of it drawn from its own seed."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.is_logged_in = rng.random() >= HANDSHAKE_SHARE
        session = rng.choice(SESSIONS)
        if self.is_logged_in:
            self.data = spoil(rng, session)
        else:
            header = PROTOCOL_HEADER if rng.random() < 0.9 else spoil_bytes(rng, PROTOCOL_HEADER)
            self.data = header + spoil(rng, HANDSHAKE + session)
        self.is_compared = rng.random() < COMPARED_SHARE

    def pieces(self) -> list[bytes]:
        """Cut up: byte by byte, or at a few places."""
        data = self.data
        if self.rng.random() < 0.3:
            return [data[at : at + 1] for at in range(len(data))]
        cuts = sorted(self.rng.randrange(len(data) + 1) for _ in range(self.rng.randrange(1, 12)))
        return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)])]


def compare(stream: Stream) -> str:
    """Whole against cut up, each on a broker of its own."""
    whole, cut = Trial(), Trial()
    once = whole.feed([stream.data], stream.is_logged_in)
    piecewise = cut.feed(stream.pieces(), stream.is_logged_in)
    fault = whole.fault() or cut.fault()
    if fault == "" and not depends_on_turns(stream.data):
        fault = difference(once, piecewise)
    whole.end()
    cut.end()
    return fault


def try_one(trial: Trial, stream: Stream) -> str:
    try:
        split_output(trial.feed([stream.data], stream.is_logged_in))
        fault = trial.fault()
        if fault == "" and stream.is_compared:
            fault = compare(stream)
    except Exception:
        fault = traceback.format_exc()
    return fault


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, default=None, help="the seed of one stream")
    parser.add_argument("--keep-going", action="store_true", help="count faults instead of stopping at the first")
    arguments = parser.parse_args()
    origin = amqpd.broker.__file__ or ""
    print(f"amqpd.broker is {'compiled' if origin.endswith('.so') else 'interpreted'}, RSS {rss_kib()} KiB")
    if arguments.only is not None:
        stream = Stream(arguments.only)
        stream.is_compared = True
        fault = try_one(Trial(), stream)
        print(f"{stream.data!r}\n{fault or 'no fault'}")
        return 1 if fault else 0
    return run(arguments.count, arguments.seed, arguments.keep_going)


def run(count: int, seed: int, keep_going: bool) -> int:
    started = time.perf_counter()
    step = max(count // 10, 1)
    compared = faults = size = 0
    trial = Trial()
    for number in range(count):
        if number % STREAMS_PER_BROKER == 0:
            trial.end()
            trial = Trial()
        # Streams of different runs differ, and each is repeated by one number.
        stream_seed = seed * 1_000_000_007 + number
        stream = Stream(stream_seed)
        compared += stream.is_compared
        size += len(stream.data)
        fault = try_one(trial, stream)
        if fault != "":
            faults += 1
            print(f"stream --only {stream_seed}:\n{fault}")
            if not keep_going:
                return 1
            trial = Trial()
        if (number + 1) % step == 0:
            rate = (number + 1) / (time.perf_counter() - started)
            print(f"{number + 1} streams, {rate:.0f}/s, RSS {rss_kib()} KiB", flush=True)
    seconds = time.perf_counter() - started
    print(
        f"{count} streams ({size} bytes, {compared} compared cut up) in {seconds:.0f} s, {count / seconds:.0f}/s: "
        f"{faults} faults, RSS {rss_kib()} KiB"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
