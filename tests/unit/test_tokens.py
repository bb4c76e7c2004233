"""Tokens: made once, stored as a hash, checked in constant time, ended at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlops_box.box import Box
from mlops_box.cli import main as cli
from mlops_box.clock import FixedClock
from mlops_box.errors import NotFoundError, UsageError
from mlops_box.operations.tokens import create_token
from mlops_box.serving.authorization import FAILURES_AT_ONCE, Authorizer, Need
from mlops_box.serving.bearer import new_token, read_token
from mlops_box.serving.local_token import local_token, make_local_token, remove_local_token
from mlops_box.serving.problems import HttpProblem


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def box(tmp_path: Path, clock: FixedClock) -> Iterator[Box]:
    with Box.open(tmp_path / "home", actor="ada", clock=clock) as opened:
        yield opened


def bearer(text: str) -> bytes:
    return f"Bearer {text}".encode()


def refusal(authorizer: Authorizer, header: bytes | None, need: Need | None = "predict") -> HttpProblem:
    with pytest.raises(HttpProblem) as refused:
        authorizer.allowed(header, need)
    return refused.value


def test_a_token_opens_what_its_scopes_name_and_nothing_else(box: Box, clock: FixedClock) -> None:
    text = create_token(box, "app", ["predict"]).text
    authorizer = Authorizer(box.tokens, clock)
    caller = authorizer.allowed(bearer(text), "predict")
    assert caller is not None
    assert caller.name == "app"
    assert authorizer.allowed(f"bEaReR  {text}".encode(), None) == caller
    for need in ("feedback", "admin"):
        problem = refusal(authorizer, bearer(text), need)  # type: ignore[arg-type]
        assert (problem.status, problem.code) == (403, "forbidden")
        assert f'scope="{need}"'.encode() in dict(problem.headers)[b"www-authenticate"]


def test_open_paths_ask_nobody(box: Box, clock: FixedClock) -> None:
    assert Authorizer(box.tokens, clock).allowed(None, "open") is None


@pytest.mark.parametrize("need", ["predict", "feedback", "admin", None])
def test_what_is_no_valid_token_is_refused(box: Box, clock: FixedClock, need: Need | None) -> None:
    text = create_token(box, "app", ["predict", "feedback", "admin"]).text
    id_ = text.split("_")[1]
    wrong = [
        None, b"", b"Bearer", b"Bearer ", b"Basic " + text.encode(), text.encode(), bearer(text[:-1]), bearer(text + "0"),
        bearer(text.upper()), bearer(new_token()), bearer(f"mbx_{id_}_{'0' * 64}"), bearer(text + "\n") + b"x",
        b"Bearer \xff\xfe", bearer(f"mbx_{id_}_"), bearer(f"{text}, Bearer {text}"), b"\x00" * 100,
    ]  # fmt: skip
    authorizer = Authorizer(box.tokens, clock)
    for header in wrong:
        problem = refusal(authorizer, header, need)
        assert problem.status == 401, header
        assert dict(problem.headers)[b"www-authenticate"].startswith(b'Bearer realm="mlops-box"')
        assert text not in problem.body().decode()


def test_a_token_ends_by_expiry_and_by_revocation(box: Box, clock: FixedClock) -> None:
    short = create_token(box, "short", ["predict"], expires="1h").text
    long = create_token(box, "long", ["predict"]).text
    authorizer = Authorizer(box.tokens, clock)
    authorizer.allowed(bearer(short), "predict")
    clock.advance(timedelta(hours=1))
    assert refusal(authorizer, bearer(short)).status == 401
    authorizer.allowed(bearer(long), "predict")
    box.tokens.revoke("long")
    authorizer.refresh()
    assert refusal(authorizer, bearer(long)).status == 401
    assert {token.name: token.state(clock.now()) for token in box.tokens.list()} == {
        "long": "revoked",
        "short": "expired",
    }
    assert box.tokens.valid() == []


def test_the_secret_is_stored_nowhere(box: Box, clock: FixedClock) -> None:
    made = create_token(box, "app", ["predict"])
    secret = made.text.split("_")[2]
    stored = b"".join(path.read_bytes() for path in box.home.root.rglob("*") if path.is_file())
    assert secret.encode() not in stored
    assert bytes.fromhex(secret) not in stored
    assert read_token(made.text.encode()) == (made.token.id, made.token.digest)
    assert secret not in repr(made)


def test_making_and_revoking_stand_in_the_ledger(box: Box) -> None:
    create_token(box, "app", ["feedback", "predict", "predict"], expires="90d")
    box.tokens.revoke("app")
    box.tokens.revoke("app")
    revoked, created = box.ledger.entries(subject="token:app")
    assert (created.act, revoked.act) == ("token.created", "token.revoked")
    assert created.actor == "ada"
    assert created.facts["scopes"] == ["predict", "feedback"]
    assert created.facts["expires_at"] == "2026-04-01T00:00:00.000Z"
    create_token(box, "app", ["predict"])
    assert len(box.tokens.valid()) == 1


@pytest.mark.parametrize(
    ("name", "scopes", "expires"),
    [
        ("App", ["predict"], None),
        ("../app", ["predict"], None),
        ("app", [], None),
        ("app", ["root"], None),
        ("app", ["predict"], "soon"),
        ("app", ["predict"], "0d"),
        ("app", ["predict"], "9999999d"),
        ("taken", ["predict"], None),
    ],
)
def test_a_token_that_cannot_be_changes_nothing(
    box: Box, name: str, scopes: list[str], expires: str | None
) -> None:
    create_token(box, "taken", ["admin"])
    head = box.ledger.head()
    with pytest.raises(UsageError):
        create_token(box, name, scopes, expires=expires)
    assert box.ledger.head() == head
    assert [token.name for token in box.tokens.list()] == ["taken"]


def test_revoking_what_is_not_there_says_so(box: Box) -> None:
    with pytest.raises(NotFoundError):
        box.tokens.revoke("app")


def test_failing_attempts_are_bounded_and_good_callers_are_not_locked_out(
    box: Box, clock: FixedClock
) -> None:
    text = create_token(box, "app", ["predict"]).text
    authorizer = Authorizer(box.tokens, clock)
    statuses = [refusal(authorizer, bearer(new_token())).status for _ in range(200)]
    assert statuses == [401] * int(FAILURES_AT_ONCE) + [429] * (200 - int(FAILURES_AT_ONCE))
    assert authorizer.allowed(bearer(text), "predict") is not None
    problem = refusal(authorizer, bearer(text), "admin")
    assert problem.status == 429, "a wrong scope is a failing attempt too"
    assert {b"retry-after", b"connection"} <= dict(problem.headers).keys()
    clock.advance(timedelta(seconds=1))
    assert [refusal(authorizer, None).status for _ in range(11)] == [401] * 10 + [429]


def test_the_boxs_own_processes_have_a_token_of_their_own(box: Box, clock: FixedClock) -> None:
    assert local_token(box.home.run) is None
    text = make_local_token(box.home.run)
    assert local_token(box.home.run) == text
    assert (box.home.run / "server.token").stat().st_mode & 0o777 == 0o600
    authorizer = Authorizer(box.tokens, clock, local=text)
    for need in ("predict", "feedback", "admin"):
        assert authorizer.allowed(bearer(text), need) is not None  # type: ignore[arg-type]
    assert refusal(authorizer, bearer(text[:-64] + "0" * 64)).status == 401
    again = make_local_token(box.home.run)
    assert again != text
    remove_local_token(box.home.run)
    assert local_token(box.home.run) is None


def test_the_command_shows_the_secret_once(tmp_path: Path) -> None:
    home = ["--home", str(tmp_path / "home")]
    runner = CliRunner()

    def call(*arguments: str) -> str:
        done = runner.invoke(cli.command, ["tokens", *arguments, *home])
        assert done.exit_code == 0, done.output
        return done.output

    text = call("create", "app", "--scope", "predict", "--scope", "feedback", "--expires", "90d").split()[0]
    assert read_token(text.encode()) is not None
    second = json.loads(call("create", "scraper", "--scope", "admin", "--json"))
    assert second["token"].startswith(f"mbx_{second['id']}_")
    listed = call("list", "--json")
    assert text.split("_")[2] not in listed
    assert {row["name"]: row["scopes"] for row in json.loads(listed)} == {
        "app": ["predict", "feedback"], "scraper": ["admin"],
    }  # fmt: skip
    assert "revoked" in call("revoke", second["id"])
    assert {row["name"]: row["state"] for row in json.loads(call("list", "--json"))} == {
        "app": "valid", "scraper": "revoked",
    }  # fmt: skip
    assert text.split("_")[2] not in call("list")
