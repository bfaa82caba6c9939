from __future__ import annotations

import pytest

from amqpd.cli.serve import EXIT_CONFIG, read_flags, serve_command
from amqpd.config import ConfigError


def test_only_flags_that_were_given_become_settings() -> None:
    assert read_flags([]) == {}


def test_flags_have_the_names_of_the_settings() -> None:
    listen = ["--amqp", "a:1", "--amqp", "b:2", "--amqps", "c:3", "--tls-cert", "x", "--tls-key", "y"]
    assert read_flags(["--data-dir", "d", *listen, "--log-level", "debug"]) == {
        "data_dir": "d",
        "amqp": ["a:1", "b:2"],
        "amqps": ["c:3"],
        "tls_cert": "x",
        "tls_key": "y",
        "log_level": "debug",
    }


def test_management_is_an_address_or_none() -> None:
    assert read_flags(["--management", "h:1"]) == {"management": "h:1"}
    assert read_flags(["--no-management"]) == {"management": "none"}


def test_set_reaches_every_setting() -> None:
    assert read_flags(["--set", "limits.frame_max=65536"]) == {"limits.frame_max": "65536"}


def test_set_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        read_flags(["--set", "limits.frame_max"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["--data-dri", "x"], "unrecognized arguments: --data-dri x; did you mean --data-dir?"),
        (["--log-level", "loud"], "argument --log-level: invalid choice: 'loud'"),
        (["--data-dir"], "argument --data-dir: expected one argument"),
        (
            ["--management", "h:1", "--no-management"],
            "argument --no-management: not allowed with argument --management",
        ),
    ],
)
def test_wrong_flag_is_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        read_flags(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"amqpd can't start: {sentence}")
    assert error.endswith(" (amqpd serve --help lists the flags)\n")
    assert error.count("\n") == 1


def test_a_configuration_file_is_not_named_by_set() -> None:
    with pytest.raises(ConfigError, match="say --config FILE"):
        read_flags(["--set", "config=x.toml"])


def test_wrong_setting_is_one_sentence_and_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert serve_command(["--amqp", "nowhere"]) == EXIT_CONFIG
    error = capsys.readouterr().err
    assert error.startswith("amqpd can't start: amqp on the command line must be HOST:PORT")
    assert error.count("\n") == 1
