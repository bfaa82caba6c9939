"""x-max-length, x-max-length-bytes and x-overflow: is there room, and what goes if not.

Pure verdicts: the queue acts on them. Only ready messages count, and only the bytes of their bodies (RabbitMQ).
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

DROP_HEAD: Final = 0
REJECT_PUBLISH: Final = 1
REJECT_PUBLISH_DLX: Final = 2

OVERFLOWS: Final[dict[str, int]] = {
    "drop-head": DROP_HEAD,
    "reject-publish": REJECT_PUBLISH,
    "reject-publish-dlx": REJECT_PUBLISH_DLX,
}


def is_too_long(count: i64, size_bytes: i64, count_max: i64, bytes_max: i64) -> bool:
    """Limits below 0 do not exist."""
    if count_max >= 0 and count > count_max:
        return True
    return bytes_max >= 0 and size_bytes > bytes_max
