"""What dramatiq's test_rabbitmq.py takes from tests/common.py and conftest.py, which its sdist leaves out.

The tests name no port, so pika's default becomes that of the broker under test.
"""

import os
import sys
import types
from collections.abc import Iterator

import dramatiq
import pika
import pytest
from dramatiq import Worker
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from report import LEFT_OUT

pika.connection.Parameters.DEFAULT_PORT = int(os.environ["AMQP_PORT"])

common = types.ModuleType("tests.common")
common.RABBITMQ_USERNAME = os.environ["AMQP_USER"]
common.RABBITMQ_PASSWORD = os.environ["AMQP_PASS"]
common.RABBITMQ_CREDENTIALS = pika.PlainCredentials(common.RABBITMQ_USERNAME, common.RABBITMQ_PASSWORD)
common.skip_unless_rabbit_mq = lambda test: test
sys.modules["tests.common"] = common


@pytest.fixture(autouse=True)
def broker_that_may_be_stopped(request: pytest.FixtureRequest) -> None:
    if "handle_rabbit_failures" in request.node.name and "BROKER_DIR" not in os.environ:
        pytest.skip(LEFT_OUT + "stops its broker, but this one is not ours")


@pytest.fixture
def rabbitmq_broker() -> Iterator[RabbitmqBroker]:
    broker = RabbitmqBroker(host=os.environ["AMQP_HOST"], max_priority=10, credentials=common.RABBITMQ_CREDENTIALS)
    broker.emit_after("process_boot")
    dramatiq.set_broker(broker)
    yield broker
    broker.flush_all()
    broker.emit_before("process_stop")
    broker.close()


@pytest.fixture
def rabbitmq_worker(rabbitmq_broker: RabbitmqBroker) -> Iterator[Worker]:
    worker = Worker(rabbitmq_broker, worker_timeout=100, worker_threads=32)
    worker.start()
    yield worker
    worker.stop()
