"""The way to a broker's policies, which no AMQP method sets: RabbitMQ's HTTP API, amqpd's definitions file.

Owns: saying it so that it is in force when the call returns. Does not own names and clean-up (session).
"""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from .client import WAIT_S, Stuck

# RabbitMQ tells its queues of a new policy by a message; it has been read long before this is over.
SETTLE_S = 0.1
POLL_S = 0.02


class Policy(NamedTuple):
    name: str
    pattern: str
    definition: dict[str, Any]
    apply_to: str = "queues"
    priority: int = 0
    is_operator: bool = False

    def body(self) -> dict[str, Any]:
        return {
            "pattern": self.pattern,
            "definition": self.definition,
            "apply-to": self.apply_to,
            "priority": self.priority,
        }


class Control(ABC):
    @abstractmethod
    def set_policy(self, policy: Policy) -> None: ...

    @abstractmethod
    def clear_policy(self, policy: Policy) -> None: ...


class HttpControl(Control):
    """RabbitMQ's management API."""

    def __init__(self, port: int, user: str = "guest", password: str = "guest") -> None:
        self._base = f"http://127.0.0.1:{port}/api"
        self._login = base64.b64encode(f"{user}:{password}".encode()).decode()

    def set_policy(self, policy: Policy) -> None:
        self._request("PUT", policy, policy.body())

    def clear_policy(self, policy: Policy) -> None:
        self._request("DELETE", policy, None)

    def _request(self, verb: str, policy: Policy, body: dict[str, Any] | None) -> None:
        kind = "operator-policies" if policy.is_operator else "policies"
        request = urllib.request.Request(
            f"{self._base}/{kind}/%2F/{quote(policy.name, safe='')}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Basic {self._login}", "Content-Type": "application/json"},
            method=verb,
        )
        with urllib.request.urlopen(request, timeout=WAIT_S):
            pass
        time.sleep(SETTLE_S)


class DefinitionsControl(Control):
    """amqpd's definitions file, written anew and loaded on SIGHUP.

    Each version of the file declares an exchange of its own; once that is there, the file has been loaded.
    """

    def __init__(self, path: Path) -> None:
        self.process_id = 0
        self.exchange_exists: Callable[[str], bool] = lambda name: True
        self._path = path
        self._policies: dict[tuple[bool, str], Policy] = {}
        self._version = 0
        self._lock = threading.Lock()
        self._write()

    def set_policy(self, policy: Policy) -> None:
        with self._lock:
            self._policies[(policy.is_operator, policy.name)] = policy
            self._load()

    def clear_policy(self, policy: Policy) -> None:
        with self._lock:
            if self._policies.pop((policy.is_operator, policy.name), None) is not None:
                self._load()

    def _load(self) -> None:
        marker = self._write()
        os.kill(self.process_id, signal.SIGHUP)
        deadline = time.monotonic() + WAIT_S
        while not self.exchange_exists(marker):
            if time.monotonic() > deadline:
                raise Stuck("the definitions are not loaded")
            time.sleep(POLL_S)

    def _write(self) -> str:
        self._version += 1
        marker = f"definitions {self._version}"
        policies = [{"vhost": "/", "name": p.name} | p.body() for p in self._policies.values() if not p.is_operator]
        operator = [
            {"vhost": "/", "component": "operator_policy", "name": p.name, "value": p.body()}
            for p in self._policies.values()
            if p.is_operator
        ]
        exchange = {"vhost": "/", "name": marker, "type": "fanout", "durable": False, "auto_delete": False}
        definitions = {
            "policies": policies,
            "parameters": operator,
            "exchanges": [exchange | {"internal": False, "arguments": {}}],
        }
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(definitions))
        fresh.replace(self._path)
        return marker
