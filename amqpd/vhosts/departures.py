"""What leaves its queue by itself is sent off: as a dead letter, or because its x-delay is over; each into all its targets
and out of its queue in one batch of the log.

Owns whose turn it is: queues take turns, and each queue's departures go in their order, for as long as the turn's budget
lasts. Does not own where they go (dead_letters.py, delays.py), nor those that a target refuses (queues/refused.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqpd.queues.agenda import Agenda
from amqpd.queues.departure import DUE
from amqpd.queues.queue import Queue

if TYPE_CHECKING:
    from amqpd.vhosts.vhost import VHost

# Departures of one queue before others have their turn, and what one costs, about.
SENT_OFF_COUNT_MAX: Final = 64
DEPARTURE_COST: Final = 3
# Beside that, of one whose x-delay is over: its headers are read, and it is routed by itself.
DUE_COST: Final = 12
# With more than these of one queue, the last one goes first. Whoever brings many on purpose waits long before.
DEPARTING_COUNT_MAX: Final = 16_384


@final
class Departures:
    def __init__(self, agenda: Agenda, vhosts: dict[str, VHost]) -> None:
        self._agenda = agenda
        self._vhosts = vhosts

    def send_off_some(self) -> None:
        """One round: some of each queue's."""
        agenda = self._agenda
        departing = agenda.departing
        agenda.departing = []
        for queue in departing:
            self._send_off(queue)

    def _send_off(self, queue: Queue) -> None:
        agenda = self._agenda
        vhost = self._vhosts[queue.vhost_name]
        departing = queue.departing
        done: i64 = 0
        while departing.count > 0 and done < SENT_OFF_COUNT_MAX and agenda.budget > 0:
            # Breadth first, unless each brings more than one: then there would be no end to memory.
            departure = departing.take() if departing.count < DEPARTING_COUNT_MAX else departing.take_last()
            done += 1
            agenda.budget -= DEPARTURE_COST
            try:
                if departure.reason == DUE:
                    agenda.budget -= DUE_COST
                    full = vhost.delays.release(departure.entry)
                else:
                    full = vhost.dead_letters.send(departure)
                if full is not None:
                    queue.hold_back(departure, full)
            except Exception as error:
                queue.entry_failed(departure.entry, error)
        if departing.count > 0:
            agenda.departing.append(queue)
        else:
            queue.is_departing = False
