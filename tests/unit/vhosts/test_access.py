from __future__ import annotations

import pytest

from amqpd.base.errors import AccessRefused
from amqpd.vhosts.access import (
    CONFIGURE,
    MD5,
    READ,
    REMEMBERED_MAX,
    SHA256,
    SHA512,
    WRITE,
    Access,
    hash_password,
    is_loopback,
    verify_password,
)

SALT = b"\x01\x02\x03\x04"

# base64(salt + H(salt + "secret")), computed by Erlang's crypto as RabbitMQ does.
FROM_RABBITMQ = {
    SHA256: "AQIDBDB9kM21iEUzN1lZ+6VReCsdNqS0sERdAQTcY6Xs3PMz",
    SHA512: "AQIDBPhTH2L5HGYB1LWOrn+YpvuQmVOXKGqgsuiJRIZTILRoEvblSJo/WAsym3IZTfuaIaK5KR2o5KwFfTv6KsxfMIE=",
    MD5: "AQIDBDgk9ci8Lfh6CKE9Y0AUfmU=",
}


@pytest.fixture
def access() -> Access:
    made = Access(("guest",))
    made.add_user("guest", b"guest", SALT, ("administrator",))
    made.set_permissions("guest", "/", ".*", ".*", ".*")
    made.add_user("u", b"secret", SALT)
    made.set_permissions("u", "/", "^c", "^w|^amq\\.default$", "^r")
    return made


# Passwords --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", list(FROM_RABBITMQ))
def test_hashes_are_rabbitmqs(algorithm: str) -> None:
    expected = FROM_RABBITMQ[algorithm]
    assert hash_password(b"secret", SALT, algorithm) == expected
    assert verify_password(b"secret", expected, algorithm)
    assert not verify_password(b"Secret", expected, algorithm)


@pytest.mark.parametrize("password_hash", ["", "AQID", "not base64!", "é", FROM_RABBITMQ[MD5], FROM_RABBITMQ[SHA512]])
def test_what_is_no_hash_matches_no_password(password_hash: str) -> None:
    for password in (b"", b"secret"):
        assert not verify_password(password, password_hash, SHA256)


@pytest.mark.parametrize("algorithm", list(FROM_RABBITMQ))
def test_a_user_with_an_imported_hash_logs_in(algorithm: str) -> None:
    access = Access()
    access.put_user("old", FROM_RABBITMQ[algorithm], algorithm, ())
    assert access.authenticate("old", b"secret", "10.0.0.1") == ""
    assert access.authenticate("old", b"wrong", "10.0.0.1") == "user 'old' - invalid credentials"


def test_unknown_users_and_wrong_passwords_read_the_same(access: Access) -> None:
    assert access.authenticate("u", b"secret", "10.0.0.1") == ""
    for user, password in (("u", b"wrong"), ("nobody", b"secret"), ("", b""), ("u", b""), ("\udcff", b"x")):
        assert access.authenticate(user, password, "127.0.0.1") == f"user '{user}' - invalid credentials"


def test_a_user_without_a_password_can_not_log_in_with_one() -> None:
    access = Access()
    access.put_user("certificate-only", "", SHA256, ())
    for password in (b"", b"\x00" * 32, b"x"):
        assert access.authenticate("certificate-only", password, "127.0.0.1") != ""


def test_a_password_is_never_shown(access: Access) -> None:
    user = access.user("u")
    assert user is not None
    assert user.password_hash not in repr(user)


def test_a_name_can_not_forge_a_log_line(access: Access) -> None:
    assert "\n" not in access.authenticate("x'\r\nuser 'guest' logged in", b"x", "127.0.0.1")


# Where from ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1", "::1%lo"])
def test_guest_may_come_from_this_machine(access: Access, host: str) -> None:
    assert access.authenticate("guest", b"guest", host) == ""


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "::ffff:10.0.0.1", "::", "0.0.0.0", "::2", "fe80::1", "localhost", "", "127.0.0.1.", "0x7f.1"]
)
def test_guest_may_not_come_from_anywhere_else(access: Access, host: str) -> None:
    assert not is_loopback(host)
    assert access.authenticate("guest", b"guest", host) == "user 'guest' can only connect via localhost"
    assert access.authenticate("u", b"secret", host) == ""


def test_the_wrong_password_says_nothing_about_where_a_user_may_come_from(access: Access) -> None:
    assert access.authenticate("guest", b"wrong", "10.0.0.1") == "user 'guest' - invalid credentials"


def test_which_users_are_bound_to_this_machine_is_configurable() -> None:
    access = Access(())
    access.add_user("guest", b"guest", SALT)
    assert access.authenticate("guest", b"guest", "10.0.0.1") == ""


# Permissions --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [CONFIGURE, WRITE, READ])
@pytest.mark.parametrize("name", ["c1", "w1", "r1", "x"])
def test_each_access_has_its_own_pattern(access: Access, kind: str, name: str) -> None:
    allowed = kind[0] == name[0]
    assert access.allows("u", "/", kind, name) is allowed
    # And the same again, from memory.
    assert access.allows("u", "/", kind, name) is allowed


def test_a_refusal_names_everything(access: Access) -> None:
    with pytest.raises(AccessRefused) as caught:
        access.check("u", "/", CONFIGURE, "queue", "q")
    expected = "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'u'"
    assert caught.value.reply_text == expected
    with pytest.raises(AccessRefused, match="'qx'"):
        access.check("u", "/", CONFIGURE, "queue", "q\r\nx")


def test_the_exchange_without_a_name_is_checked_as_amq_default(access: Access) -> None:
    access.check("u", "/", WRITE, "exchange", "")
    with pytest.raises(AccessRefused, match=r"read access to exchange 'amq\.default' in vhost '/'"):
        access.check("u", "/", READ, "exchange", "")


def test_an_empty_pattern_allows_nothing(access: Access) -> None:
    access.set_permissions("u", "/", "", "", "")
    for name in ("a", "", "\n"):
        for kind in (CONFIGURE, WRITE, READ):
            assert access.allows("u", "/", kind, name) is (name == "")


def test_patterns_match_anywhere_as_in_rabbitmq(access: Access) -> None:
    access.set_permissions("u", "/", "mid", "^a$", "z$")
    assert access.allows("u", "/", CONFIGURE, "amidst")
    assert not access.allows("u", "/", WRITE, "ab")
    assert access.allows("u", "/", READ, "yz")


def test_without_a_permission_there_is_no_access_at_all(access: Access) -> None:
    assert access.may_enter("u", "/")
    for user, vhost in (("u", "other"), ("nobody", "/"), ("", "")):
        assert not access.may_enter(user, vhost)
        with pytest.raises(AccessRefused):
            access.check(user, vhost, READ, "queue", "r")


def test_a_change_counts_at_once_and_moves_the_version(access: Access) -> None:
    assert access.allows("u", "/", READ, "r")
    before = access.version
    access.set_permissions("u", "/", "", "", "^x")
    assert not access.allows("u", "/", READ, "r")
    assert access.version > before
    assert access.clear_permissions("u", "/")
    assert not access.may_enter("u", "/")
    assert not access.clear_permissions("u", "/")
    assert not access.clear_permissions("u", "nowhere")


def test_a_bad_pattern_is_refused_and_changes_nothing(access: Access) -> None:
    before = access.version
    for pattern in ("(", "x" * 1025, "(?<=a)b"):
        with pytest.raises(ValueError, match="invalid write pattern"):
            access.set_permissions("u", "/", "", pattern, "")
    assert access.allows("u", "/", READ, "r")
    assert access.version == before


def test_what_is_remembered_does_not_grow_for_ever(access: Access) -> None:
    for i in range(REMEMBERED_MAX * 2 + 10):
        assert access.allows("u", "/", READ, f"r{i}")
    assert not access.allows("u", "/", READ, "x")
    assert access.allows("u", "/", READ, "r1")


def test_what_is_too_long_for_a_name_is_judged_and_not_remembered(access: Access) -> None:
    """It may come in an argument, for example as a dead-letter exchange of 100 kB."""
    permission = access.permission("u", "/")
    assert permission is not None
    for i in range(3):
        assert access.allows("u", "/", READ, f"r{i}" + "x" * 255)
        assert not access.allows("u", "/", READ, f"x{i}" + "x" * 255)
    assert len(permission._read_rule._remembered) == 0


# Users ---------------------------------------------------------------------------------------------------------------------


def test_deleting_a_user_takes_their_permissions_along(access: Access) -> None:
    assert access.delete_user("u")
    assert not access.delete_user("u")
    access.add_user("u", b"secret", SALT)
    assert not access.may_enter("u", "/")


def test_a_new_password_keeps_the_permissions(access: Access) -> None:
    access.add_user("u", b"other", SALT, ("monitoring",))
    assert access.authenticate("u", b"other", "10.0.0.1") == ""
    assert access.authenticate("u", b"secret", "10.0.0.1") != ""
    assert access.may_enter("u", "/")


def test_deleting_a_vhost_takes_its_permissions_along(access: Access) -> None:
    access.set_permissions("u", "other", "", "", "")
    access.vhost_deleted("/")
    access.vhost_deleted("/")
    assert not access.may_enter("u", "/")
    assert access.may_enter("u", "other")


def test_tags_belong_to_users(access: Access) -> None:
    assert access.has_tag("guest", "administrator")
    assert not access.has_tag("u", "administrator")
    assert not access.has_tag("nobody", "administrator")
    assert access.set_tags("u", ("monitoring", "management")) is not None
    assert access.has_tag("u", "management")
    assert access.set_tags("nobody", ()) is None


def test_lists_are_sorted_and_filtered(access: Access) -> None:
    access.set_permissions("guest", "a", "", "", "")
    assert [user.name for user in access.list_users()] == ["guest", "u"]
    assert [(p.vhost, p.user) for p in access.list_permissions()] == [("/", "guest"), ("/", "u"), ("a", "guest")]
    assert [p.vhost for p in access.list_permissions(user="guest")] == ["/", "a"]
    assert [p.user for p in access.list_permissions(vhost="/")] == ["guest", "u"]


def test_a_user_that_can_not_be_is_refused(access: Access) -> None:
    for name in ("", "x" * 256):
        with pytest.raises(ValueError):
            access.put_user(name, "", SHA256, ())
    with pytest.raises(ValueError, match="can't be empty"):
        access.add_user("x", b"", SALT)
    with pytest.raises(ValueError, match="unknown hashing algorithm"):
        access.put_user("x", "", "rot13", ())
    with pytest.raises(ValueError, match="is not one of"):
        access.put_user("x", FROM_RABBITMQ[MD5], SHA256, ())
    with pytest.raises(ValueError, match="no user 'x'"):
        access.set_permissions("x", "/", "", "", "")
    with pytest.raises(ValueError):
        hash_password(b"x", b"")


def test_rows_bring_everything_back(access: Access) -> None:
    access.put_user("none", "", SHA512, ("a", "b"))
    copy = Access(("guest",))
    copy.add_user("old", b"x", SALT)
    copy.load(access.user_rows(), access.permission_rows())
    assert copy.user_rows() == access.user_rows()
    assert copy.permission_rows() == access.permission_rows()
    assert copy.user("old") is None
    assert copy.authenticate("u", b"secret", "10.0.0.1") == ""
    assert copy.has_tag("none", "b")
    assert access.permission_rows()[0] == {
        "user": "guest",
        "vhost": "/",
        "configure": ".*",
        "write": ".*",
        "read": ".*",
    }
