"""Every way in which a peer, or a disk, can be wrong.

    AmqpError
      SoftError              closes the channel
        NoRoute                312   AccessRefused  403   NotFound  404
        ResourceLocked         405   PreconditionFailed   406
      HardError              closes the connection
        ConnectionForced       320   FrameError     501   SyntaxFault        502
        CommandInvalid         503   ChannelFault   504   UnexpectedFrame    505
        ResourceFault          506   NotAllowed     530   NotImplementedFault 540
        InternalFault          541
    Corrupt                  the disk's fault: what was read is not what was written
    UnknownFormat            nobody's: another version of amqpd wrote it

A failed `assert` is our own bug and has no class here. Codes and names: AMQP 0-9-1 1.2 and behaviour of RabbitMQ.
"""

from __future__ import annotations

from typing import Final

REPLY_TEXT_BYTES_MAX: Final = 255

REPLY_NAMES: Final[dict[int, str]] = {
    200: "REPLY_SUCCESS",
    311: "CONTENT_TOO_LARGE",
    312: "NO_ROUTE",
    313: "NO_CONSUMERS",
    320: "CONNECTION_FORCED",
    402: "INVALID_PATH",
    403: "ACCESS_REFUSED",
    404: "NOT_FOUND",
    405: "RESOURCE_LOCKED",
    406: "PRECONDITION_FAILED",
    501: "FRAME_ERROR",
    502: "SYNTAX_ERROR",
    503: "COMMAND_INVALID",
    504: "CHANNEL_ERROR",
    505: "UNEXPECTED_FRAME",
    506: "RESOURCE_ERROR",
    530: "NOT_ALLOWED",
    540: "NOT_IMPLEMENTED",
    541: "INTERNAL_ERROR",
}


class AmqpError(Exception):
    """A fault that the protocol has a reply code for; `explanation` is what follows `NAME - `."""

    # mypyc drops class-level defaults of exception subclasses, hence the code is set per instance.
    def __init__(self, reply_code: int, explanation: str) -> None:
        super().__init__(explanation)
        self.reply_code = reply_code
        self.explanation = explanation
        # False: the fault is in the frames or the peer itself, so that no method is named (class and method id 0).
        self.is_about_method = reply_code not in (320, 501)

    @property
    def reply_text(self) -> str:
        """`NAME - explanation`, cut to the 255 bytes of a short string, the last three of them dots, as RabbitMQ does."""
        text = f"{REPLY_NAMES[self.reply_code]} - {self.explanation}"
        raw = text.encode("utf-8", "replace")
        if len(raw) <= REPLY_TEXT_BYTES_MAX:
            return text
        return raw[: REPLY_TEXT_BYTES_MAX - 3].decode("utf-8", "ignore") + "..."


class SoftError(AmqpError):
    """The client's fault; closes the channel it happened on."""


class HardError(AmqpError):
    """The client's fault; closes the whole connection."""


class NoRoute(SoftError):
    def __init__(self, explanation: str) -> None:
        super().__init__(312, explanation)


class AccessRefused(SoftError):
    def __init__(self, explanation: str) -> None:
        super().__init__(403, explanation)


class NotFound(SoftError):
    def __init__(self, explanation: str) -> None:
        super().__init__(404, explanation)


class ResourceLocked(SoftError):
    def __init__(self, explanation: str) -> None:
        super().__init__(405, explanation)


class PreconditionFailed(SoftError):
    def __init__(self, explanation: str) -> None:
        super().__init__(406, explanation)


class ConnectionForced(HardError):
    def __init__(self, explanation: str) -> None:
        super().__init__(320, explanation)


class LoginRefused(HardError):
    """AMQP uses 403 for a refused login too, but there it ends the connection."""

    def __init__(self, explanation: str) -> None:
        super().__init__(403, explanation)
        self.is_about_method = False


class FrameError(HardError):
    def __init__(self, explanation: str, is_about_method: bool = False) -> None:
        super().__init__(501, explanation)
        self.is_about_method = is_about_method


class SyntaxFault(HardError):
    def __init__(self, explanation: str) -> None:
        super().__init__(502, explanation)


class CommandInvalid(HardError):
    def __init__(self, explanation: str) -> None:
        super().__init__(503, explanation)


class ChannelFault(HardError):
    def __init__(self, explanation: str) -> None:
        super().__init__(504, explanation)


class UnexpectedFrame(HardError):
    def __init__(self, explanation: str, is_about_method: bool = False) -> None:
        super().__init__(505, explanation)
        self.is_about_method = is_about_method


class ResourceFault(HardError):
    def __init__(self, explanation: str) -> None:
        super().__init__(506, explanation)


class NotAllowed(HardError):
    def __init__(self, explanation: str, is_about_method: bool = True) -> None:
        super().__init__(530, explanation)
        self.is_about_method = is_about_method


class NotImplementedFault(HardError):
    def __init__(self, explanation: str) -> None:
        super().__init__(540, explanation)


class InternalFault(HardError):
    def __init__(self, explanation: str) -> None:
        super().__init__(541, explanation)


class Corrupt(Exception):
    """Bytes on disk are not what was written there; offset -1: no byte in particular."""

    def __init__(self, path: str, offset: int, why: str) -> None:
        super().__init__(f"{path} at byte {offset}: {why}" if offset >= 0 else f"{path}: {why}")
        self.path = path
        self.offset = offset
        self.why = why


class UnknownFormat(Exception):
    """Bytes on disk are what was written, and another version of amqpd wrote them."""
