"""The fixtures of aiormq's top-level conftest.py, which its sdist leaves out."""

import os

import pytest
from tests.docker_client import ContainerInfo, DockerClient
from yarl import URL


@pytest.fixture(scope="session")
def rabbitmq_container() -> ContainerInfo:
    return DockerClient().run("", [])


@pytest.fixture(scope="session")
def amqp_direct_url(rabbitmq_container: ContainerInfo) -> URL:
    return URL.build(
        scheme="amqp",
        user=os.environ["AMQP_USER"],
        password=os.environ["AMQP_PASS"],
        host=rabbitmq_container.host,
        port=rabbitmq_container.ports["5672/tcp"],
        path="//",
    )
