"""Who may log in, and what they may touch: users, passwords, permissions.

Owns: users with their password hashes and tags, and one permission per (user, vhost): three patterns, for configure,
write and read. Does not own where they are kept (topology store: `user_rows`, `permission_rows`, `load`), nor salt
(callers bring it), nor how a refused login is answered (connections). Deny by default: who has no row has no access.
Invariant: `version` grows with every change, so that whoever remembers an answer can tell that it is stale; channels
remember routes that they may publish by, and need not ask, for all routes of a vhost become stale with a permission.

A password hash is RabbitMQ's: base64(salt + H(salt + password)), with 4 bytes of salt and H by name.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqpd.base.errors import AccessRefused
from amqpd.vhosts.patterns import Pattern

if TYPE_CHECKING:
    from amqpd.vhosts.vhost import VHost

SALT_BYTES: Final = 4
SHA256: Final = "rabbit_password_hashing_sha256"
SHA512: Final = "rabbit_password_hashing_sha512"
MD5: Final = "rabbit_password_hashing_md5"
ALGORITHMS: Final = (SHA256, SHA512, MD5)

CONFIGURE: Final = "configure"
WRITE: Final = "write"
READ: Final = "read"

# The name under which permissions know the exchange without one.
DEFAULT_EXCHANGE: Final = "amq.default"

# Answers that one permission remembers per access; names can come from clients without end.
REMEMBERED_MAX: Final = 4096
NAME_BYTES_MAX: Final = 255

# What an unknown user's password is held against, so that it costs what a known one's does.
_NOBODY_HASH: Final = base64.b64encode(bytes(SALT_BYTES + 32)).decode("ascii")


@final
class User:
    def __init__(self, name: str, password_hash: str, hashing_algorithm: str, tags: tuple[str, ...]) -> None:
        self.name = name
        # "" is a user without a password, who can't log in with one.
        self.password_hash = password_hash
        self.hashing_algorithm = hashing_algorithm
        self.tags = tags

    def row(self) -> dict[str, object]:
        return {
            "name": self.name,
            "password_hash": self.password_hash,
            "hashing_algorithm": self.hashing_algorithm,
            "tags": ",".join(self.tags),
        }

    def __repr__(self) -> str:
        return f"User({self.name!r}, password_hash=***, tags={self.tags!r})"


@final
class _Rule:
    """One pattern and what it said before."""

    def __init__(self, text: str) -> None:
        # RabbitMQ: '' stands for '^$', which no name but the empty one matches.
        self._pattern = Pattern(text if text != "" else "^$")
        self._remembered: dict[str, bool] = {}

    def allows(self, name: str) -> bool:
        if len(name) > NAME_BYTES_MAX:
            # Only an argument can be so long, and as many of them would be kept.
            return self._pattern.matches(name)
        answer = self._remembered.get(name)
        if answer is None:
            answer = self._pattern.matches(name)
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[name] = answer
        return answer


@final
class Permission:
    """What one user may do in one vhost; replaced as a whole, never changed."""

    def __init__(self, user: str, vhost: str, configure: str, write: str, read: str) -> None:
        self.user = user
        self.vhost = vhost
        self.configure = configure
        self.write = write
        self.read = read
        self._configure_rule = _rule(CONFIGURE, configure)
        self._write_rule = _rule(WRITE, write)
        self._read_rule = _rule(READ, read)

    def allows(self, access: str, name: str) -> bool:
        if access == WRITE:
            return self._write_rule.allows(name)
        if access == READ:
            return self._read_rule.allows(name)
        assert access == CONFIGURE, access
        return self._configure_rule.allows(name)

    def row(self) -> dict[str, object]:
        return {
            "user": self.user,
            "vhost": self.vhost,
            "configure": self.configure,
            "write": self.write,
            "read": self.read,
        }


def _rule(access: str, text: str) -> _Rule:
    try:
        return _Rule(text)
    except ValueError as error:
        raise ValueError(f"invalid {access} pattern {text[:100]!r}: {error}") from error


@final
class Access:
    """All users and permissions of a node. Bad input from an administrator is a ValueError with one sentence."""

    def __init__(self, loopback_users: tuple[str, ...] = ("guest",)) -> None:
        self.version: i64 = 0
        self._loopback_users = loopback_users
        self._users: dict[str, User] = {}
        # By vhost, then user.
        self._permissions: dict[str, dict[str, Permission]] = {}
        self._vhosts: dict[str, VHost] = {}

    def watch(self, vhosts: dict[str, VHost]) -> None:
        """Where routes are remembered: all vhosts of the broker, as they come and go."""
        self._vhosts = vhosts

    def _permission_changed(self, vhost_name: str) -> None:
        self.version += 1
        vhost = self._vhosts.get(vhost_name)
        if vhost is not None:
            vhost.routes.drop()

    # Logging in.

    def authenticate(self, user: str, password: bytes, peer_host: str) -> str:
        """Why this login is refused, for the log; "" if it is not. The client is never told which reason it was."""
        known = self._users.get(user)
        is_right = verify_password(
            password,
            known.password_hash if known is not None and known.password_hash != "" else _NOBODY_HASH,
            known.hashing_algorithm if known is not None else SHA256,
        )
        if known is None or known.password_hash == "" or password == b"" or not is_right:
            return f"user '{printable(user)}' - invalid credentials"
        if user in self._loopback_users and not is_loopback(peer_host):
            return f"user '{printable(user)}' can only connect via localhost"
        return ""

    # Asking.

    def check(self, user: str, vhost: str, access: str, kind: str, name: str) -> None:
        """AccessRefused unless `user` has `access` (configure, write, read) to the queue or exchange (`kind`)."""
        if name == "" and kind == "exchange":
            name = DEFAULT_EXCHANGE
        if not self.allows(user, vhost, access, name):
            raise AccessRefused(
                f"{access} access to {kind} '{printable(name)}' in vhost '{printable(vhost)}' "
                f"refused for user '{printable(user)}'"
            )

    def check_any(self, user: str, vhost: str, kind: str, name: str) -> None:
        """AccessRefused unless `user` may do something with the queue or exchange."""
        for access in (CONFIGURE, WRITE, READ):
            if self.allows(user, vhost, access, name):
                return
        raise AccessRefused(
            f"access to {kind} '{printable(name)}' in vhost '{printable(vhost)}' refused for user '{printable(user)}'"
        )

    def allows(self, user: str, vhost: str, access: str, name: str) -> bool:
        permission = self.permission(user, vhost)
        return permission is not None and permission.allows(access, name)

    def may_enter(self, user: str, vhost: str) -> bool:
        return self.permission(user, vhost) is not None

    def has_tag(self, user: str, tag: str) -> bool:
        known = self._users.get(user)
        return known is not None and tag in known.tags

    def user(self, name: str) -> User | None:
        return self._users.get(name)

    def permission(self, user: str, vhost: str) -> Permission | None:
        of_vhost = self._permissions.get(vhost)
        return of_vhost.get(user) if of_vhost is not None else None

    def list_users(self) -> list[User]:
        return [self._users[name] for name in sorted(self._users)]

    def list_permissions(self, user: str = "", vhost: str = "") -> list[Permission]:
        """In order of vhost and user; "" is any."""
        found: list[Permission] = []
        for vhost_name in sorted(self._permissions):
            of_vhost = self._permissions[vhost_name]
            for user_name in sorted(of_vhost):
                if vhost in ("", vhost_name) and user in ("", user_name):
                    found.append(of_vhost[user_name])
        return found

    # Changing.

    def add_user(self, name: str, password: bytes, salt: bytes, tags: tuple[str, ...] = ()) -> User:
        """Add a user, or give an existing one this password and these tags; permissions stay."""
        if password == b"":
            raise ValueError("a password can't be empty")
        return self.put_user(name, hash_password(password, salt), SHA256, tags)

    def put_user(self, name: str, password_hash: str, hashing_algorithm: str, tags: tuple[str, ...]) -> User:
        """A user whose password is hashed already (definitions), or who has none ("")."""
        if name == "" or len(name.encode("utf-8", "surrogateescape")) > NAME_BYTES_MAX:
            raise ValueError(f"a user name has 1 to {NAME_BYTES_MAX} bytes")
        if hashing_algorithm not in ALGORITHMS:
            raise ValueError(f"unknown hashing algorithm {hashing_algorithm!r}")
        if password_hash != "" and _decoded(password_hash, hashing_algorithm) is None:
            raise ValueError(f"the password hash of user {name!r} is not one of {hashing_algorithm}")
        user = User(name, password_hash, hashing_algorithm, tags)
        self._users[name] = user
        self.version += 1
        return user

    def set_tags(self, name: str, tags: tuple[str, ...]) -> User | None:
        user = self._users.get(name)
        if user is not None:
            user.tags = tags
            self.version += 1
        return user

    def delete_user(self, name: str) -> bool:
        """The user and all their permissions; False if there was none."""
        if self._users.pop(name, None) is None:
            return False
        self.version += 1
        for vhost, of_vhost in self._permissions.items():
            if of_vhost.pop(name, None) is not None:
                self._permission_changed(vhost)
        return True

    def set_permissions(self, user: str, vhost: str, configure: str, write: str, read: str) -> Permission:
        if user not in self._users:
            raise ValueError(f"no user {user!r}")
        permission = Permission(user, vhost, configure, write, read)
        self._permissions.setdefault(vhost, {})[user] = permission
        self._permission_changed(vhost)
        return permission

    def clear_permissions(self, user: str, vhost: str) -> bool:
        of_vhost = self._permissions.get(vhost)
        if of_vhost is None or of_vhost.pop(user, None) is None:
            return False
        self._permission_changed(vhost)
        return True

    def vhost_deleted(self, vhost: str) -> None:
        if self._permissions.pop(vhost, None) is not None:
            self._permission_changed(vhost)

    # Keeping.

    def user_rows(self) -> list[dict[str, object]]:
        return [user.row() for user in self.list_users()]

    def permission_rows(self) -> list[dict[str, object]]:
        return [permission.row() for permission in self.list_permissions()]

    def load(self, user_rows: list[dict[str, object]], permission_rows: list[dict[str, object]]) -> None:
        """Replace everything by what `user_rows` and `permission_rows` gave."""
        self._users.clear()
        for vhost in list(self._permissions):
            self.vhost_deleted(vhost)
        self.version += 1
        for row in user_rows:
            tags = tuple([tag for tag in str(row["tags"]).split(",") if tag != ""])
            self.put_user(str(row["name"]), str(row["password_hash"]), str(row["hashing_algorithm"]), tags)
        for row in permission_rows:
            self.set_permissions(
                str(row["user"]), str(row["vhost"]), str(row["configure"]), str(row["write"]), str(row["read"])
            )


# Passwords ------------------------------------------------------------------------------------------------------------


def hash_password(password: bytes, salt: bytes, hashing_algorithm: str = SHA256) -> str:
    if len(salt) != SALT_BYTES:
        raise ValueError(f"salt has {SALT_BYTES} bytes")
    return base64.b64encode(salt + _digest(salt + password, hashing_algorithm)).decode("ascii")


def verify_password(password: bytes, password_hash: str, hashing_algorithm: str) -> bool:
    raw = _decoded(password_hash, hashing_algorithm)
    if raw is None:
        return False
    salt = raw[:SALT_BYTES]
    return hmac.compare_digest(raw[SALT_BYTES:], _digest(salt + password, hashing_algorithm))


def _decoded(password_hash: str, hashing_algorithm: str) -> bytes | None:
    """Salt and digest; None if this is not a hash of that algorithm."""
    try:
        raw = base64.b64decode(password_hash.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    digest_bytes = 64 if hashing_algorithm == SHA512 else (16 if hashing_algorithm == MD5 else 32)
    return raw if len(raw) == SALT_BYTES + digest_bytes else None


def _digest(salted: bytes, hashing_algorithm: str) -> bytes:
    if hashing_algorithm == SHA512:
        return hashlib.sha512(salted).digest()
    if hashing_algorithm == MD5:
        return hashlib.md5(salted, usedforsecurity=False).digest()
    assert hashing_algorithm == SHA256, hashing_algorithm
    return hashlib.sha256(salted).digest()


# Texts ----------------------------------------------------------------------------------------------------------------


def is_loopback(host: str) -> bool:
    """Whether a peer address is this machine's; anything that is not an address is not."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        if mapped is not None:
            return mapped.is_loopback
    return address.is_loopback


def printable(name: str) -> str:
    """A name as RabbitMQ shows it in texts: without line breaks, so that no name forges a log line."""
    return name.replace("\r", "").replace("\n", "")
