"""Who may stay at the door: bounds on connections, and on those that have not logged in yet.

Owns the counts. Does not own sockets, nor why a login fails. A newcomer is a connection that is not open yet; newcomers
that have opened since are only struck off when a bound is reached, so that admitting stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqpd.base.limits import Limits

if TYPE_CHECKING:
    from amqpd.connections.connection import Connection


class Admission:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._hosts: dict[Connection, str] = {}
        self._count_by_host: dict[str, int] = {}
        self._newcomers: dict[Connection, str] = {}
        self._newcomer_count_by_host: dict[str, int] = {}

    @property
    def connection_count(self) -> int:
        return len(self._hosts)

    def refusal(self, host: str) -> str:
        """Why one more connection from `host` can't be had now; "" if it can."""
        limits = self._limits
        if len(self._hosts) >= limits.connections_max:
            return f"there are {limits.connections_max} connections already"
        if self._count_by_host.get(host, 0) >= limits.connections_per_host_max:
            return f"{host} has {limits.connections_per_host_max} connections already"
        if self._are_newcomers_many(host):
            self._strike_off_opened()
            if self._are_newcomers_many(host):
                return "too many connections have not logged in yet"
        return ""

    def admit(self, connection: Connection, host: str) -> None:
        self._hosts[connection] = host
        self._newcomers[connection] = host
        _add(self._count_by_host, host, 1)
        _add(self._newcomer_count_by_host, host, 1)

    def leave(self, connection: Connection) -> None:
        host = self._hosts.pop(connection, None)
        if host is None:
            return
        _add(self._count_by_host, host, -1)
        if self._newcomers.pop(connection, None) is not None:
            _add(self._newcomer_count_by_host, host, -1)

    def _are_newcomers_many(self, host: str) -> bool:
        limits = self._limits
        return (
            len(self._newcomers) >= limits.connections_unauthenticated_max
            or self._newcomer_count_by_host.get(host, 0) >= limits.connections_unauthenticated_per_host_max
        )

    def _strike_off_opened(self) -> None:
        opened = [each for each in self._newcomers if each.session is not None]
        for connection in opened:
            _add(self._newcomer_count_by_host, self._newcomers.pop(connection), -1)


def _add(counts: dict[str, int], host: str, step: int) -> None:
    count = counts.get(host, 0) + step
    if count:
        counts[host] = count
    else:
        counts.pop(host, None)
