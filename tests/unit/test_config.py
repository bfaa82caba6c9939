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
    assert load(management="127.0.0.1:8080").management == Address("127.0.0.1", 8080)


@pytest.mark.parametrize("text", ["5672", "localhost", ":5672", "h:65536", "h:-1", "h:x", "", "h:٣"])
def test_an_address_is_host_and_port(text: str) -> None:
    assert "must be HOST:PORT" in refusal(management=text)


def test_ipv6_address_is_written_with_brackets() -> None:
    assert str(Address("::1", 5672)) == "[::1]:5672"


def test_unknown_key_is_refused_with_its_file_and_the_nearest_one(tmp_path: Path) -> None:
    text = refusal("[limits]\nframe_mx = 1\n", tmp_path)
    assert text == f"unknown key 'limits.frame_mx' in {tmp_path}/amqpd.toml; did you mean 'limits.frame_max'?"


def test_unknown_table_is_refused(tmp_path: Path) -> None:
    assert "unknown key 'listeners.tcp'" in refusal("[listeners]\ntcp = 1\n", tmp_path)


def test_unknown_flag_setting_is_refused() -> None:
    assert refusal(colour="red").startswith("unknown key 'colour' on the command line")


def test_foreign_environment_variables_are_left_alone() -> None:
    # What Kubernetes sets beside a service that is called amqpd.
    assert load(environ={"AMQPD_PORT": "tcp://10.0.0.1:5672", "AMQPD_SERVICE_HOST": "10.0.0.1"}).warnings == ()


def test_mistyped_limit_in_the_environment_is_warned_about() -> None:
    (warning,) = load(environ={"AMQPD_LIMITS_FRAME_MX": "1"}).warnings
    assert "AMQPD_LIMITS_FRAME_MX" in warning


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
        ("limits__frame_max", 4095, "frame_max_min must be at least 4096"),
        ("limits__channel_max", 0, "channel_max must be from 1 to 65535"),
        ("limits__version", "4", "must be three integers"),
        ("limits__consumer_timeout_action", "kill", "must be return or close"),
        ("memory_high_watermark", "1.5", "must be a share"),
        ("memory_high_watermark", "x", "must be a share"),
        ("memory_paging_ratio", "2", "must be a share"),
        ("log_level", "loud", "must be one of debug, info, warning, error"),
        ("data_dir", "", "must be a path"),
        ("amqp", [], "no address to listen on"),
        ("amqps", "127.0.0.1:5671", "amqps needs tls_cert and tls_key"),
        ("tls_ca", "ca.pem", "do nothing without amqps"),
    ],
)
def test_value_that_can_not_work_is_refused_with_a_sentence(key: str, value: object, why: str) -> None:
    assert why in refusal(**{key: value})


def test_broken_file_is_refused_with_its_place(tmp_path: Path) -> None:
    assert "is not valid TOML" in refusal("data_dir = \n", tmp_path)


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
