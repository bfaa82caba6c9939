"""Frame layout and the numbers of the frames, methods and property flags that the hot path looks at.

    0      1         3             7                  size+7
    +------+---------+-------------+------------------+-----------+
    | type | channel | size        | payload          | 0xCE      |
    +------+---------+-------------+------------------+-----------+
    octet   short     long          size octets        octet          (AMQP 0-9-1 4.2.3)

Owns no state: the connection finds frames in its input, these are the names it uses.
"""

from __future__ import annotations

from typing import Final

FRAME_METHOD: Final = 1
FRAME_HEADER: Final = 2
FRAME_BODY: Final = 3
FRAME_HEARTBEAT: Final = 8
FRAME_END: Final = 0xCE
FRAME_OVERHEAD_BYTES: Final = 8

PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"

# Method indices: class id << 16 | method id.
CHANNEL_OPEN: Final = 0x0014000A
CHANNEL_CLOSE: Final = 0x00140028
CHANNEL_CLOSE_OK: Final = 0x00140029
BASIC_PUBLISH: Final = 0x003C0028
BASIC_RETURN: Final = 0x003C0032
BASIC_DELIVER: Final = 0x003C003C
BASIC_GET: Final = 0x003C0046
BASIC_GET_OK: Final = 0x003C0047
BASIC_GET_EMPTY: Final = 0x003C0048
BASIC_ACK: Final = 0x003C0050
BASIC_REJECT: Final = 0x003C005A
BASIC_NACK: Final = 0x003C0078
