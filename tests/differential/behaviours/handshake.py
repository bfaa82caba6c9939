"""From the first octet to connection.open-ok: protocol header, SASL, tune, virtual host."""

from __future__ import annotations

from .. import codec
from ..registry import behaviour
from ..session import Connection, Session

AMQPLAIN = codec.table([("LOGIN", "guest"), ("PASSWORD", "guest")])[4:]


def _answered_with_header(s: Session, header: bytes, note: str) -> None:
    c = s.dial()
    c.send_raw(header, note)
    c.log("< " + c.client.read_raw().hex(" "))
    c.log("< (closed)")


@behaviour("handshake")
def another_protocol_version_is_answered_with_ours(s: Session) -> None:
    for version in (b"\x00\x00\x09\x02", b"\x01\x00\x09\x01", b"\x00\x01\x00\x00", b"\x09\x01\x00\x00"):
        _answered_with_header(s, b"AMQP" + version, f"protocol-header {version.hex(' ')}")


@behaviour("handshake")
def sasl_header_of_amqp_1_0_is_answered_with_ours(s: Session) -> None:
    _answered_with_header(s, b"AMQP\x03\x01\x00\x00", "protocol-header of AMQP 1.0 with SASL")


@behaviour("handshake")
def http_on_the_port_is_answered_with_our_header(s: Session) -> None:
    _answered_with_header(s, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "an HTTP request")


@behaviour("handshake")
def tls_on_the_port_is_answered_with_our_header(s: Session) -> None:
    _answered_with_header(s, bytes.fromhex("16030100c8010000c40303") + bytes(60), "a TLS client hello")


@behaviour("handshake")
def header_of_amqp_0_9_is_taken(s: Session) -> None:
    c = s.dial()
    c.send_protocol_header(b"AMQP\x01\x01\x00\x09")
    event = c.client.next_event(0)
    c.log(f"< {event.name if event else 'nothing'}")


@behaviour("handshake")
def start_tells_version_mechanisms_and_locale(s: Session) -> None:
    c = s.dial()
    start = c.start()
    c.log(f"= version {start['version_major']}.{start['version_minor']}")
    c.log(f"= mechanisms {sorted(start['mechanisms'].split())}")
    c.log(f"= locales {start['locales']}")


@behaviour("handshake")
def server_properties_have_the_known_keys(s: Session) -> None:
    fields = {field.name: field for field in s.dial().start()["server_properties"]}
    for key in ("capabilities", "cluster_name", "copyright", "information", "platform", "product", "version"):
        s.log(f"= {key}: {fields[key].tag if key in fields else 'missing'}")
    s.log(f"= product {fields['product'].value.decode()}")
    version = fields["version"].value.decode().split(".")
    s.log(f"= version has {len(version)} numbers: {all(part.isdigit() for part in version)}")


@behaviour("handshake")
def capabilities_are_nine_booleans_all_true(s: Session) -> None:
    fields = {field.name: field for field in s.dial().start()["server_properties"]}
    for name, tag, value in sorted(fields["capabilities"].value):
        s.log(f"= {name}: {tag} {value}")


@behaviour("handshake")
def tune_offers_2047_channels_frames_of_128_kib_and_60_seconds(s: Session) -> None:
    c = s.dial()
    tune = c.log_in()
    c.log(f"< channel_max={tune['channel_max']} frame_max={tune['frame_max']} heartbeat={tune['heartbeat']}")


@behaviour("handshake")
def plain_handshake_in_full(s: Session) -> None:
    c = s.dial()
    c.start()
    c.call("connection.start-ok", client_properties={}, mechanism="PLAIN", response="\0guest\0guest", locale="en_US")
    c.send("connection.tune-ok", channel_max=10, frame_max=8192, heartbeat=0)
    c.call("connection.open", virtual_host="/")
    c.call("connection.close", reply_code=200, reply_text="bye")


def _start_ok(s: Session, mechanism: str, response: str | bytes, *, is_told: bool = True) -> Connection:
    c = s.dial()
    c.start()
    capabilities = {"capabilities": {"authentication_failure_close": True}} if is_told else {}
    arguments = {"client_properties": capabilities, "mechanism": mechanism, "response": response, "locale": "en_US"}
    c.call("connection.start-ok", **arguments)
    return c


@behaviour("handshake")
def amqplain_logs_in(s: Session) -> None:
    _start_ok(s, "AMQPLAIN", AMQPLAIN)


@behaviour("handshake")
def amqplain_takes_its_fields_in_any_order(s: Session) -> None:
    _start_ok(s, "AMQPLAIN", codec.table([("x", 1), ("PASSWORD", "guest"), ("LOGIN", "guest")])[4:])


@behaviour("handshake")
def amqplain_with_a_wrong_password_is_403(s: Session) -> None:
    _start_ok(s, "AMQPLAIN", codec.table([("LOGIN", "guest"), ("PASSWORD", "wrong")])[4:])


@behaviour("handshake")
def amqplain_without_a_password_is_refused(s: Session) -> None:
    _start_ok(s, "AMQPLAIN", codec.table([("LOGIN", "guest")])[4:])


@behaviour("handshake")
def plain_with_an_authorisation_identity_is_refused(s: Session) -> None:
    _start_ok(s, "PLAIN", "someone\0guest\0guest")


@behaviour("handshake")
def wrong_password_is_403_for_who_wants_to_be_told(s: Session) -> None:
    _start_ok(s, "PLAIN", "\0guest\0wrong")


@behaviour("handshake")
def unknown_user_is_told_the_same_as_a_wrong_password(s: Session) -> None:
    _start_ok(s, "PLAIN", "\0nobody-at-all\0guest")


@behaviour("handshake")
def empty_user_and_password_are_refused(s: Session) -> None:
    _start_ok(s, "PLAIN", "\0\0")


@behaviour("handshake")
def plain_response_without_separators_is_refused(s: Session) -> None:
    _start_ok(s, "PLAIN", "guest")


@behaviour("handshake")
def plain_response_that_ends_early_is_refused(s: Session) -> None:
    _start_ok(s, "PLAIN", "\0guest")


@behaviour("handshake")
def wrong_password_closes_the_socket_for_who_does_not(s: Session) -> None:
    c = s.dial()
    c.start()
    c.start_ok("guest", "wrong")
    c.end()


@behaviour("handshake")
def unknown_mechanism_ends_the_connection(s: Session) -> None:
    _start_ok(s, "GUESS", "\0guest\0guest")


@behaviour("handshake")
def names_of_mechanisms_are_in_capitals(s: Session) -> None:
    _start_ok(s, "plain", "\0guest\0guest")


@behaviour("handshake")
def any_locale_is_taken(s: Session) -> None:
    c = s.dial()
    c.start()
    c.call("connection.start-ok", client_properties={}, mechanism="PLAIN", response="\0guest\0guest", locale="xx_XX")


@behaviour("handshake")
def client_properties_may_hold_anything(s: Session) -> None:
    c = s.dial()
    c.start()
    odd = {"connection_name": "me", "product": 7, "capabilities": {"x": None}, "list": [1, [2.5, b"x"]], "": True}
    c.call("connection.start-ok", client_properties=odd, mechanism="PLAIN", response="\0guest\0guest", locale="en_US")
    c.tune_ok()
    c.call("connection.open", virtual_host="/")


@behaviour("handshake")
def capabilities_that_are_no_table_are_overlooked(s: Session) -> None:
    c = s.dial()
    c.start()
    arguments = {"mechanism": "PLAIN", "response": "\0guest\0guest", "locale": "en_US"}
    c.call("connection.start-ok", client_properties={"capabilities": "all"}, **arguments)


def _tuned(s: Session, **values: int) -> None:
    c = s.dial()
    c.log_in()
    c.send("connection.tune-ok", **({"channel_max": 2047, "frame_max": 131072, "heartbeat": 0} | values))
    c.call("connection.open", virtual_host="/")


@behaviour("handshake")
def tune_ok_with_the_offered_values_is_fine(s: Session) -> None:
    _tuned(s)


@behaviour("handshake")
def tune_ok_may_lower_everything(s: Session) -> None:
    _tuned(s, channel_max=1, frame_max=4096, heartbeat=3600)


@behaviour("handshake")
def tune_ok_above_channel_max_ends_the_connection(s: Session) -> None:
    _tuned(s, channel_max=2048)


@behaviour("handshake")
def tune_ok_without_a_channel_limit_ends_the_connection(s: Session) -> None:
    _tuned(s, channel_max=0)


@behaviour("handshake")
def tune_ok_above_frame_max_ends_the_connection(s: Session) -> None:
    _tuned(s, frame_max=131073)


@behaviour("handshake")
def tune_ok_without_a_frame_limit_ends_the_connection(s: Session) -> None:
    _tuned(s, frame_max=0)


@behaviour("handshake")
def tune_ok_below_4096_ends_the_connection(s: Session) -> None:
    _tuned(s, frame_max=4095)


@behaviour("handshake")
def unknown_virtual_host_is_530(s: Session) -> None:
    c = s.dial()
    c.log_in()
    c.tune_ok()
    c.call("connection.open", virtual_host="no such host")


@behaviour("handshake")
def empty_virtual_host_is_another_one(s: Session) -> None:
    c = s.dial()
    c.log_in()
    c.tune_ok()
    c.call("connection.open", virtual_host="")


@behaviour("handshake")
def open_ignores_its_reserved_arguments(s: Session) -> None:
    c = s.dial()
    c.log_in()
    c.tune_ok()
    c.call("connection.open", virtual_host="/", reserved_1="x", reserved_2=True)


# Out of order


@behaviour("handshake")
def open_before_tune_ok_ends_the_connection(s: Session) -> None:
    c = s.dial()
    c.log_in()
    c.call("connection.open", virtual_host="/")


@behaviour("handshake")
def tune_ok_before_start_ok_ends_the_connection(s: Session) -> None:
    c = s.dial()
    c.start()
    c.call("connection.tune-ok", channel_max=2047, frame_max=131072, heartbeat=0)


@behaviour("handshake")
def second_start_ok_ends_the_connection(s: Session) -> None:
    c = s.connect()
    c.call("connection.start-ok", mechanism="PLAIN", response="\0guest\0guest", locale="en_US")


@behaviour("handshake")
def second_tune_ok_ends_the_connection(s: Session) -> None:
    c = s.connect()
    c.call("connection.tune-ok", channel_max=2047, frame_max=131072, heartbeat=0)


@behaviour("handshake")
def second_connection_open_ends_the_connection(s: Session) -> None:
    c = s.connect()
    c.call("connection.open", virtual_host="/")


@behaviour("handshake")
def channel_open_before_connection_open_ends_the_connection(s: Session) -> None:
    c = s.dial()
    c.log_in()
    c.tune_ok()
    c.lane(1).send("channel.open")
    c.fault()


@behaviour("handshake")
def channel_open_before_the_login_ends_the_connection(s: Session) -> None:
    c = s.dial()
    c.start()
    c.lane(1).call("channel.open")


@behaviour("handshake")
def close_before_the_login_ends_the_connection(s: Session) -> None:
    c = s.dial()
    c.start()
    c.call("connection.close", reply_code=200)


@behaviour("handshake")
def close_after_the_login_but_before_open_ends_the_connection(s: Session) -> None:
    c = s.dial()
    c.log_in()
    c.tune_ok()
    c.call("connection.close", reply_code=200)
