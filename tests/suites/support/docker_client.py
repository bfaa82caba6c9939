"""Stands in for tests/docker_client.py of aio-pika and aiormq.

A container with a TLS port is the broker under test, which those suites share. One without is a broker of a test's own: a
second process of the same kind, which that test may stop (`rabbitmqctl stop_app`), kill and start again.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pytest
from broker import BrokerProcess
from report import LEFT_OUT

HOST = os.environ.get("AMQP_HOST", "127.0.0.1")


class DockerNotAvailableError(Exception):
    pass


@dataclass
class DockerHostInfo:
    container_host: str = HOST


@dataclass
class ContainerInfo:
    id: str
    ports: dict[str, int]
    host: str


def check_docker_available() -> DockerHostInfo:
    return DockerHostInfo()


class DockerClient:
    _commands: dict[str, tuple[str, str]] = {}
    _count = 0

    def __init__(self, info: DockerHostInfo | None = None) -> None:
        self.docker_host_info = info

    def run(self, image: str, ports: list[str], environment: dict[str, str] | None = None) -> ContainerInfo:
        if "5671/tcp" in ports or not ports:
            shared = {"5672/tcp": int(os.environ["AMQP_PORT"]), "5671/tcp": int(os.environ.get("AMQPS_PORT", "1"))}
            return ContainerInfo("broker-under-test", shared, HOST)
        if "BROKER_DIR" not in os.environ:
            pytest.skip(LEFT_OUT + "stops its broker, but this one is not ours")
        DockerClient._count += 1
        name = f"own-{os.getpid()}-{DockerClient._count}"
        like = BrokerProcess.at(Path(os.environ["BROKER_DIR"]))
        broker = BrokerProcess.create(like.directory.parent / name, like.kind)
        broker.start()
        return ContainerInfo(name, {"5672/tcp": broker.port}, HOST)

    def start(self, container: str) -> None:
        self._broker(container).start()

    def kill(self, container: str) -> None:
        if container != "broker-under-test":
            self._broker(container).kill()

    def remove(self, container: str) -> None:
        pass  # run-all removes every directory

    def inspect(self, container: str) -> dict[str, object]:
        port = str(self._broker(container).port)
        return {"NetworkSettings": {"Ports": {"5672/tcp": [{"HostPort": port}]}}}

    def _parse_ports(self, info: dict) -> dict[str, int]:
        return {name: int(ports[0]["HostPort"]) for name, ports in info["NetworkSettings"]["Ports"].items()}

    def _request(self, method: str, path: str, body: dict | None = None) -> dict[str, object]:
        """`docker exec`, as the tests call it: create, start, look at the exit code."""
        path = unquote(path)
        if match := re.fullmatch(r"/containers/(.+)/exec", path):
            assert body is not None
            self._commands["exec"] = (match[1], body["Cmd"][1])
            return {"Id": "exec"}
        if path == "/exec/exec/start":
            container, command = self._commands["exec"]
            broker = self._broker(container)
            {"stop_app": broker.stop, "start_app": broker.start}[command]()
            return {}
        assert path == "/exec/exec/json", path
        return {"Running": False, "ExitCode": 0}

    def _broker(self, container: str) -> BrokerProcess:
        return BrokerProcess.at(Path(os.environ["BROKER_DIR"]).parent / container)
