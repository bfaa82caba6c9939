from __future__ import annotations

from pathlib import Path

import pytest

from amqpd.base.limits import Limits
from amqpd.config import Address, Config, ConfigError, load_config


def load(
    file: str = "", tmp_path: Path | None = None, environ: dict[str, str] | None = None, **flags: object
) -> Config:
    if file:
        assert tmp_path is not None
        path = tmp_path / "amqpd.toml"
        path.write_text(file)
        flags["config"] = str(path)
    return load_config({key.replace("__", "."): value for key, value in flags.items()}, environ or {})


def refusal(*args: object, **kwargs: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*args, **kwargs)  # type: ignore[arg-type]
    return str(caught.value)


def test_without_anything_it_listens_on_loopback_only() -> None:
    config = load()
    assert config.amqp == (Address("127.0.0.1", 5672),)
    assert config.amqps == ()
    assert config.data_dir == Path("data")
    assert config.limits.frame_max == Limits().frame_max


def test_file_sets_what_it_names_and_leaves_the_rest(tmp_path: Path) -> None:
    config = load(
        'data_dir = "/srv/amqpd"\namqp = ["0.0.0.0:5672", "[::1]:5673"]\n[limits]\nframe_max = 8192\n', tmp_path
    )
    assert config.data_dir == Path("/srv/amqpd")
    assert config.amqp == (Address("0.0.0.0", 5672), Address("::1", 5673))
    assert config.limits.frame_max == 8192
    assert config.limits.channel_max == 2047


def test_flags_win_over_environment_and_environment_over_file(tmp_path: Path) -> None:
    environ = {"AMQPD_LOG_LEVEL": "warning", "AMQPD_DATA_DIR": "/from-environment"}
    config = load('log_level = "debug"\ndata_dir = "/from-file"\n', tmp_path, environ, data_dir="/from-flag")
    assert config.data_dir == Path("/from-flag")
    assert config.log_level == "warning"


def test_every_limit_can_be_set_from_the_environment() -> None:
    environ = {
        "AMQPD_LIMITS_CHANNEL_MAX": "16",
        "AMQPD_LIMITS_LOOPBACK_USERS": "",
        "AMQPD_LIMITS_PRODUCT": "amqpd",
    }
    limits = load(environ=environ).limits
    assert limits.channel_max == 16
    assert limits.loopback_users == ()
    assert limits.product == "amqpd"


def test_flag_can_set_any_limit() -> None:
    assert load(limits__heartbeat_s="0").limits.heartbeat_s == 0


def test_addresses_may_be_a_list_or_words_with_commas() -> None:
    assert load(amqp=["127.0.0.1:1", "127.0.0.1:2"]).amqp == load(amqp="127.0.0.1:1, 127.0.0.1:2").amqp


def test_management_can_be_switched_off() -> None:
    assert load(management="none").management is None
    assert load().management is None


def test_a_management_api_is_refused_until_there_is_one(tmp_path: Path) -> None:
    why = "must be \"none\" or left out, for there is no management API yet and nothing would listen, not 'h:1'"
    assert refusal(management="h:1") == f"management on the command line {why}"
    assert refusal(environ={"AMQPD_MANAGEMENT": "h:1"}) == f"management in the environment (AMQPD_MANAGEMENT) {why}"
    assert refusal('management = "h:1"', tmp_path) == f"management in {tmp_path}/amqpd.toml {why}"


@pytest.mark.parametrize("text", ["5672", "localhost", ":5672", "h:65536", "h:-1", "h:x", "", "h:٣"])
def test_an_address_is_host_and_port(text: str) -> None:
    assert "must be HOST:PORT" in refusal(amqp=[text])


def test_ipv6_address_is_written_with_brackets() -> None:
    assert str(Address("::1", 5672)) == "[::1]:5672"


def test_unknown_key_is_refused_with_its_file_and_the_nearest_one(tmp_path: Path) -> None:
    text = refusal("[limits]\nframe_mx = 1\n", tmp_path)
    assert text == f"unknown key 'limits.frame_mx' in {tmp_path}/amqpd.toml; did you mean 'limits.frame_max'?"


def test_unknown_table_is_refused(tmp_path: Path) -> None:
    assert "unknown key 'listeners.tcp'" in refusal("[listeners]\ntcp = 1\n", tmp_path)


def test_unknown_flag_setting_is_refused() -> None:
    assert refusal(colour="red").startswith("unknown key 'colour' on the command line")


def test_a_limit_without_its_table_is_refused_with_the_table() -> None:
    assert refusal(frame_max="9000").endswith("did you mean 'limits.frame_max'?")


def test_empty_tables_that_nobody_knows_are_refused_too(tmp_path: Path) -> None:
    assert "unknown key 'listeners'" in refusal("[listeners]\n", tmp_path)
    assert load("[limits]\n[definitions]\n", tmp_path).definitions is None


@pytest.mark.parametrize(
    "name",
    [
        # What Kubernetes sets beside a service that is called amqpd.
        "AMQPD_PORT",
        "AMQPD_PORT_5672_TCP",
        "AMQPD_PORT_5672_TCP_ADDR",
        "AMQPD_SERVICE_HOST",
        "AMQPD_SERVICE_PORT_AMQP",
        # The build's and the tests'.
        "AMQPD_PURE",
        "AMQPD_EXPECT_COMPILED",
        "AMQPD_TEST_URL",
        "AMQP_URL",
    ],
)
def test_foreign_environment_variables_are_left_alone(name: str) -> None:
    assert load(environ={name: "x"}).warnings == ()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("AMQPD_LIMITS_FRAME_MX", "AMQPD_LIMITS_FRAME_MAX"),
        ("AMQPD_FRAME_MAX", "AMQPD_LIMITS_FRAME_MAX"),
        ("AMQPD_DATADIR", "AMQPD_DATA_DIR"),
        ("AMQPD_Data_Dir", "AMQPD_DATA_DIR"),
        ("amqpd_log_level", "AMQPD_LOG_LEVEL"),
        ("AMQPD_DEFINITIONS_COMPLETE", "AMQPD_DEFINITIONS_IS_COMPLETE"),
    ],
)
def test_mistyped_variable_is_warned_about_with_the_right_name(name: str, nearest: str) -> None:
    assert load(environ={name: "1"}).warnings == (
        f"the environment variable {name} is not a setting of amqpd and is ignored; did you mean {nearest!r}?",
    )


def test_a_variable_that_is_like_none_is_warned_about_too() -> None:
    (warning,) = load(environ={"AMQPD_QQQ": "1"}).warnings
    assert warning == "the environment variable AMQPD_QQQ is not a setting of amqpd and is ignored"


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        (
            "limits__frame_max",
            "big",
            "limits.frame_max on the command line must be a whole number, 0 or more, not 'big'",
        ),
        ("limits__frame_max", True, "must be a whole number"),
        ("limits__frame_max", -1, "must be a whole number"),
        ("limits__frame_max", 1.0, "must be a whole number"),
        ("limits__frame_max", "_", "must be a whole number"),
        ("limits__frame_max", "1__0", "must be a whole number"),
        ("limits__frame_max", "9" * 5000, "must be a whole number"),
        ("limits__frame_max", [1], "must be a whole number"),
        ("limits__frame_max", "100", "limits.frame_max on the command line must be from 4096 to 16777216, not 100"),
        ("limits__frame_max", 1 << 40, "must be from 4096 to 16777216"),
        (
            "limits__frame_max_min",
            200_000,
            "limits.frame_max_min on the command line must be at most frame_max (131072)",
        ),
        (
            "limits__message_bytes_max",
            512 << 20,
            "limits.message_bytes_max on the command line must be at most partial_bytes_max (268435456), not 536870912",
        ),
        (
            "limits__partial_bytes_max",
            1,
            "limits.partial_bytes_max on the command line must be at least message_bytes_max (134217728), not 1",
        ),
        ("limits__channel_max", 0, "limits.channel_max on the command line must be from 1 to 65535, not 0"),
        ("limits__queues_max", 1 << 60, "limits.queues_max on the command line must be from 1 to 1000000000"),
        ("limits__handshake_timeout_ms", 0, "must be from 1 to"),
        ("limits__product", "", "must have 1 to 255 printable bytes, not ''"),
        ("limits__product", "x" * 256, "must have 1 to 255 printable bytes"),
        ("limits__default_vhost", "a\nb", "must have 1 to 255 printable bytes"),
        ("limits__loopback_users", [5], "must be a string"),
        ("limits__loopback_users", 5, "must be a list of strings"),
        ("disk_reserve_bytes", -1, "must be a whole number"),
        ("disk_reserve_bytes", True, "must be a whole number"),
        ("disk_reserve_bytes", 1 << 60, "must be at most"),
        ("definitions.is_complete", "yes", "must be true or false"),
        ("definitions.is_complete", 1, "must be true or false"),
        ("definitions.is_complete", True, "does nothing without a definitions file: set definitions.path"),
        ("definitions.skip_unsupported", "true", "does nothing without a definitions file"),
        ("memory_high_watermark", "nan", "must be a share"),
        ("memory_high_watermark", True, "must be a share"),
        ("memory_high_watermark", 0, "must be a share"),
        ("data_dir", 5, "must be a string"),
        ("data_dir", "a\0b", "must be a path"),
        ("limits__version", "4", "must be three integers"),
        ("limits__consumer_timeout_action", "kill", "must be return or close"),
        ("memory_high_watermark", "1.5", "must be a share"),
        ("memory_high_watermark", "x", "must be a share"),
        ("memory_paging_ratio", "2", "must be a share"),
        ("log_level", "loud", "must be one of debug, info, warning, error"),
        ("data_dir", "", "must be a path"),
        ("amqp", [], "no address to listen on"),
        ("amqps", "127.0.0.1:5671", "amqps needs tls_cert and tls_key"),
        ("tls_ca", "ca.pem", "tls_ca on the command line does nothing without amqps"),
    ],
)
def test_value_that_can_not_work_is_refused_with_a_sentence(key: str, value: object, why: str) -> None:
    assert why in refusal(**{key: value})


def test_broken_file_is_refused_with_its_place(tmp_path: Path) -> None:
    assert "is not valid TOML" in refusal("data_dir = \n", tmp_path)


@pytest.mark.parametrize("text", [b"\xff", b"a = " + b"[" * 10_000, b"a = " + b"1" * 5000])
def test_a_file_that_can_not_be_read_at_all_is_refused_with_a_sentence(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "amqpd.toml"
    path.write_bytes(text)
    assert refusal(config=str(path)).startswith(f"{path} is not valid TOML: ")


def test_a_file_without_end_is_refused() -> None:
    assert refusal(config="/dev/zero").startswith("/dev/zero is larger than 1048576 bytes")


def test_a_refusal_of_something_long_is_short(tmp_path: Path) -> None:
    assert len(refusal(limits__frame_max="9" * 100_000)) < 300


def test_missing_file_is_refused() -> None:
    assert refusal(config="/nowhere/amqpd.toml").startswith("can't read the configuration file /nowhere/amqpd.toml")


def test_cluster_name_is_the_host_unless_it_is_given() -> None:
    assert load().limits.cluster_name.startswith("amqpd@")
    assert load(limits__cluster_name="blue").limits.cluster_name == "blue"


def test_definitions_and_vhosts_that_keep_queues_can_be_set(tmp_path: Path) -> None:
    config = load('definitions = "d.json"\n[limits]\nredeclare_keep = ["/", "celery"]\n', tmp_path)
    assert config.definitions == Path("d.json")
    assert config.limits.redeclare_keep == ("/", "celery")
    assert load(definitions="other.json", limits__redeclare_keep="*").limits.redeclare_keep == ("*",)
    assert load().definitions is None


def test_definitions_may_be_a_table_or_one_path(tmp_path: Path) -> None:
    table = '[definitions]\npath = "d.json"\nis_complete = true\nskip_unsupported = true\n'
    config = load(table, tmp_path)
    assert config.definitions == Path("d.json")
    assert (config.definitions_is_complete, config.definitions_skip_unsupported) == (True, True)
    plain = load('definitions = "d.json"\n', tmp_path)
    assert (plain.definitions_is_complete, plain.definitions_skip_unsupported) == (False, False)
    environ = {
        "AMQPD_DEFINITIONS": "e.json",
        "AMQPD_DEFINITIONS_IS_COMPLETE": "true",
        "AMQPD_DEFINITIONS_SKIP_UNSUPPORTED": "false",
    }
    config = load(table, tmp_path, environ)
    assert config.definitions == Path("e.json")
    assert (config.definitions_is_complete, config.definitions_skip_unsupported) == (True, False)
    assert load(environ={"AMQPD_DEFINITIONS_PATH": "f.json"}).definitions == Path("f.json")
    assert load(table, tmp_path, definitions="flag.json").definitions == Path("flag.json")
