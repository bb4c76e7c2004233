"""Where a server listens decides whether it asks for tokens."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlops_box.box import Box
from mlops_box.cli.main import command
from mlops_box.errors import UsageError
from mlops_box.serving.access import (
    Access,
    access_for,
    access_from,
    check_tokens,
    is_loopback,
    refuse_from_elsewhere,
)
from mlops_box.serving.guard import LOOPBACK
from mlops_box.serving.problems import HttpProblem


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1", "::ffff:127.0.0.1"])
def test_the_loopback_interface_asks_nobody(host: str) -> None:
    assert is_loopback(host)
    assert access_for(host) == Access(LOOPBACK, needs_token=False)
    assert access_for(host, require_token=True).needs_token


@pytest.mark.parametrize(
    ("host", "allow", "names"),
    [
        ("0.0.0.0", ["box.local"], {b"box.local"}),
        ("::", ["BOX.local", "fe80::1"], {b"box.local", b"[fe80::1]"}),
        ("192.168.1.5", [], {b"192.168.1.5"}),
        ("192.168.1.5", ["box.local"], {b"192.168.1.5", b"box.local"}),
        ("2001:db8::0:1", [], {b"[2001:db8::1]"}),
        ("box.local", [], {b"box.local"}),
        ("127.0.0.1", ["models.example.org"], {b"models.example.org"}),
        ("0.0.0.0", ["[2001:db8::1]"], {b"[2001:db8::1]"}),
    ],
)
def test_whatever_is_reached_from_elsewhere_asks_for_a_token(
    host: str, allow: list[str], names: set[bytes]
) -> None:
    access = access_for(host, allow_hosts=allow)
    assert access.needs_token
    assert access.hosts == LOOPBACK | names


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_server_at_every_address_must_know_its_names(host: str) -> None:
    with pytest.raises(UsageError) as refused:
        access_for(host)
    assert "--allow-host" in str(refused.value.hint)


@pytest.mark.parametrize(
    "name",
    ["*", "*.local", "box.local:80", "http://box.local", "", "a b", "box/..", "0.0.0.0", "::", "-x", "x\n", "fe80::1%eth0"],
)  # fmt: skip
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        access_for("127.0.0.1", allow_hosts=[name])


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost.evil.com", "127.0.0.1.nip.io"])
def test_spellings_of_the_loopback_address_are_not_trusted(host: str) -> None:
    assert not is_loopback(host)


def test_a_server_that_others_bind_is_told_by_its_environment() -> None:
    assert access_from({}) == Access(LOOPBACK, needs_token=False, binds_itself=False)
    assert access_from({"MLOPS_BOX_REQUIRE_TOKEN": "1"}).needs_token
    named = access_from({"MLOPS_BOX_ALLOW_HOST": "box.local, 10.0.0.2"})
    assert named.needs_token
    assert named.hosts == LOOPBACK | {b"box.local", b"10.0.0.2"}


def test_no_start_without_a_valid_token(tmp_path: Path) -> None:
    wide = access_for("192.168.1.5")
    with Box.open(tmp_path / "home") as box:
        check_tokens(access_for("127.0.0.1"), box.tokens)
        with pytest.raises(UsageError) as refused:
            check_tokens(wide, box.tokens)
        assert "tokens create" in str(refused.value.hint)
        box.tokens.create("app", ["predict"], lifetime=timedelta(days=1))
        check_tokens(wide, box.tokens)
        box.tokens.revoke("app")
        with pytest.raises(UsageError):
            check_tokens(wide, box.tokens)
        check_tokens(wide, box.tokens, past_ones=True)


@pytest.mark.parametrize(
    "server",
    [
        ("127.0.0.1", 3000),
        ("127.0.0.2", 3000),
        ("::1", 3000),
        ("::ffff:127.0.0.1", 1),
        ("/run/box.sock", None),
    ],
)
def test_where_others_bind_loopback_connections_pass(server: tuple[str, int | None]) -> None:
    refuse_from_elsewhere(server)


@pytest.mark.parametrize(
    "server", [("192.168.1.5", 3000), ("10.0.0.1", 3000), ("fe80::1", 3000), ("", 3000), None]
)
def test_where_others_bind_and_nobody_asks_for_tokens_connections_from_elsewhere_are_refused(
    server: tuple[str, int | None] | None,
) -> None:
    with pytest.raises(HttpProblem) as refused:
        refuse_from_elsewhere(server)
    assert refused.value.status == 403
    assert "MLOPS_BOX_REQUIRE_TOKEN" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--host", "0.0.0.0"], "names"),
        (["--host", "0.0.0.0", "--allow-host", "box.local"], "token"),
        (["--allow-host", "box.local"], "token"),
        (["--allow-host", "*.local"], "host name"),
        (["--host", "192.168.1.5", "--detach"], "token"),
        (["--require-token"], "token"),
    ],
)
def test_up_says_what_is_missing_before_anything_starts(
    tmp_path: Path, options: list[str], says: str
) -> None:
    done = CliRunner().invoke(command, ["up", "--no-scheduler", "--home", str(tmp_path / "home"), *options])
    assert isinstance(done.exception, UsageError)
    assert says in done.exception.message
    assert not (tmp_path / "home" / "run" / "up.json").exists()
