"""One AMQP channel: method handlers, content, confirms, tx, prefetch, unacked, consumers."""
