"""Which parts a definitions document has, and which keys their entries.

Owns what is ignored with a notice: what RabbitMQ has and this broker does not act on, and what nobody knows. Does not own
what a value may be (definitions_reader.py).
"""

from __future__ import annotations

from typing import Final

from amqpd.vhosts.policy_keys import shown

# Parts that are acted on, each with the keys of its entries.
PARTS: Final[dict[str, tuple[str, ...]]] = {
    "users": ("name", "password_hash", "password", "hashing_algorithm", "tags", "limits"),
    "vhosts": ("name", "description", "tags", "default_queue_type", "metadata", "limits"),
    "permissions": ("user", "vhost", "configure", "write", "read"),
    "exchanges": ("name", "vhost", "type", "durable", "auto_delete", "internal", "arguments"),
    "queues": ("name", "vhost", "type", "durable", "auto_delete", "arguments"),
    "bindings": ("source", "vhost", "destination", "destination_type", "routing_key", "arguments", "properties_key"),
    "policies": ("vhost", "name", "pattern", "apply-to", "definition", "priority"),
    "parameters": ("component", "vhost", "name", "value"),
}
# Who wrote the document: no need to say that it is ignored.
ABOUT: Final = (
    "rabbit_version",
    "rabbitmq_version",
    "product_name",
    "product_version",
    "rabbitmq_definition_format",
    "original_cluster_name",
    "original_vhost_name",
    "explanation",
    "metadata",
)
# RabbitMQ keeps names of its own there.
CLUSTER_PARAMETERS: Final = ("cluster_name", "internal_cluster_id", "cluster_tags", "imported_definition_hash_value")


def ignored_parts(document: dict[str, object]) -> list[str]:
    """A line for each."""
    lines: list[str] = []
    for key, value in document.items():
        if key in PARTS or key in ABOUT:
            continue
        if key == "global_parameters" and isinstance(value, list):
            value = [each for each in value if not _is_cluster_parameter(each)]
        if value not in ([], {}, None):
            lines.append(f"{shown(key)} in the definitions is ignored")
    return lines


def ignored_keys(part: str, entry: dict[str, object]) -> list[str]:
    return [f"{shown(key)} in the definitions' {part} is ignored" for key in entry if key not in PARTS[part]]


def _is_cluster_parameter(entry: object) -> bool:
    return isinstance(entry, dict) and entry.get("name") in CLUSTER_PARAMETERS
