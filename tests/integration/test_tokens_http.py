"""A server that asks for tokens, over real HTTP and gRPC."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mlops_box_services.front import Front
from mlops_box_services.openapi import OPERATIONS
from mlops_box_services.routes import Routes
from serving_kit import Server, environment, register_projects, register_rate, running

from mlops_box.box import Box
from mlops_box.operations.tokens import create_token, revoke_token
from mlops_box.serving.bearer import new_token

OPEN = {("GET", "/livez"), ("GET", "/readyz")}
# Devices sign what they send.
SIGNED = {("POST", "/edge/sync")}
ROW = {"rows": [{"a": 1.0, "b": 2.0}]}


def routes() -> Routes:
    async def inner(*_: object) -> None:
        raise AssertionError("not asked")

    def no_runtime() -> Any:
        raise AssertionError("not started")

    return Front(inner, no_runtime)._routes


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Box, Server, dict[str, str]]]:
    """A server at every address, called box.local, and one token for each scope, named like it."""
    with Box.open(tmp_path_factory.mktemp("guarded") / "home", actor="tester") as box:
        register_projects(box)
        register_rate(box, 1.0, 1.0)
        secrets = {
            scope: create_token(box, scope, [scope]).text for scope in ("predict", "feedback", "admin")
        }
        with running(
            box.home.root, "--host", "0.0.0.0", "--allow-host", "box.local", "--access-log"
        ) as server:
            yield box, server, secrets


def filled(path: str) -> str:
    return path.replace("{name}", "rates").replace("{model}", "rates").replace("{version}", "1")


def ask(
    server: Server, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], Any]:
    """The answer by its own reason: asked again where there were too many failing attempts."""
    deadline = time.monotonic() + 30
    while True:
        answer = server.call(method, path, body, headers)
        if answer[0] != 429 or time.monotonic() > deadline:
            return answer
        time.sleep(0.05)


def every_route() -> list[tuple[str, str, str]]:
    return [(route.method, route.path, route.needs) for route in routes()]


def test_the_document_describes_every_route_and_no_other() -> None:
    assert {(method, path) for method, path, _ in every_route()} == set(OPERATIONS)


def test_without_a_token_every_route_is_closed_but_two(
    guarded: tuple[Box, Server, dict[str, str]],
) -> None:
    _, server, _ = guarded
    assert {(method, path) for method, path, needs in every_route() if needs == "open"} == OPEN
    assert {(method, path) for method, path, needs in every_route() if needs == "signature"} == SIGNED
    others = [
        ("GET", path) for path in ("/", "/healthz", "/schema.json", "/static_content/x", "/nope", "/livez/")
    ]
    tricks = [
        ("GET", path)
        for path in ("//livez", "/x/livez", "/livez/../models", "/models?/livez", "/livez%2f", "/readyz;x")
    ]
    for method, path, _ in [*every_route(), *((*one, "") for one in [*others, *tricks])]:
        status, headers, body = ask(server, method, filled(path), ROW if method == "POST" else None)
        if (method, path) in OPEN:
            assert status == 200
        elif (method, path) in SIGNED:
            assert status == 422
        else:
            assert status == 401, (method, path)
            assert headers["www-authenticate"].startswith("Bearer")
            assert (
                body.get("code", body["error"]["code"] if isinstance(body["error"], dict) else None)
                == "unauthorized"
            )


def test_a_token_opens_the_routes_of_its_scope_and_no_others(
    guarded: tuple[Box, Server, dict[str, str]],
) -> None:
    _, server, secrets = guarded
    for method, path, needs in every_route():
        for scope, secret in secrets.items():
            body = {} if method == "POST" else None
            status = ask(server, method, filled(path), body, bearer(secret))[0]
            if needs == "signature":
                assert status == 422
                continue
            assert (status in (401, 403)) == (needs not in (scope, "open")), (path, scope, status)
            assert status == 403 if needs not in (scope, "open") else status < 500


def test_a_token_lets_an_application_predict(guarded: tuple[Box, Server, dict[str, str]]) -> None:
    _, server, secrets = guarded
    status, _, body = server.call(
        "POST", "/models/rates/predict", ROW, {**bearer(secrets["predict"]), "Host": "box.local:8321"}
    )
    assert (status, body["predictions"]) == (200, [3.0])


def test_pages_of_the_named_host_may_call_and_no_others(
    guarded: tuple[Box, Server, dict[str, str]],
) -> None:
    _, server, secrets = guarded

    def status(origin: str, host: str = "box.local") -> int:
        headers = {**bearer(secrets["predict"]), "Host": host, "Origin": origin}
        return server.call("POST", "/models/rates/predict", ROW, headers)[0]

    assert status("https://box.local") == 200
    assert status("https://evil.com") == 403
    assert status("https://box.local.evil.com") == 403
    assert status("null") == 403
    assert status("https://box.local", host="evil.com") == 421


def test_new_and_revoked_tokens_count_within_a_second_without_a_restart(
    guarded: tuple[Box, Server, dict[str, str]],
) -> None:
    box, server, _ = guarded

    def after(change: float, wanted: int) -> float:
        while server.call("GET", "/models", headers=bearer(secret))[0] != wanted:
            assert time.monotonic() - change < 20
        return time.monotonic() - change

    for _ in range(2):
        secret = create_token(box, "passing", ["predict"]).text
        after(time.monotonic(), 200)
        revoke_token(box, "passing")
        after(time.monotonic(), 401)


def test_failing_attempts_are_bounded_counted_and_lock_nobody_out(
    guarded: tuple[Box, Server, dict[str, str]],
) -> None:
    _, server, secrets = guarded

    def attempt(number: int) -> int:
        return server.call("GET", "/models", headers=bearer(new_token()))[0]

    def good(number: int) -> int:
        return server.call("GET", "/models", headers=bearer(secrets["predict"]))[0]

    with ThreadPoolExecutor(8) as pool:
        bad = pool.map(attempt, range(150))
        fine = pool.map(good, range(100))
        assert set(fine) == {200}
        assert {429} <= set(bad) <= {401, 429}
    metrics = server.call("GET", "/metrics", headers=bearer(secrets["admin"]))[2]
    counted = {
        code: int(float(value)) for code, value in re.findall(r'refused\w*\{code="(\w+)"\} (\S+)', metrics)
    }
    assert counted["unauthorized"] >= 10
    assert counted["attempts"] >= 10
    assert counted["forbidden"] >= 1


def test_the_boxs_own_command_needs_no_setting(guarded: tuple[Box, Server, dict[str, str]]) -> None:
    box, _, _ = guarded
    command = [sys.executable, "-m", "mlops_box", "predict", "rates", "--row", '{"a": 2, "b": 3}', "--json"]
    done = subprocess.run(
        [*command, "--home", str(box.home.root)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
    )
    assert json.loads(done.stdout)["predictions"] == [5.0], done.stderr


def test_no_secret_is_in_logs_answers_arguments_or_on_the_disk(
    guarded: tuple[Box, Server, dict[str, str]],
) -> None:
    import psutil

    box, server, secrets = guarded
    wrong = new_token()
    answers = ""
    for text in [*secrets.values(), wrong]:
        for headers in (
            bearer(text),
            {"Authorization": f"Basic {text}"},
            {"Authorization": text},
            {"X-Api-Key": text},
        ):
            for path in ("/models", "/models/nope", "/nope", "/metrics", "/docs.json", "/readyz"):
                answers += repr(server.call("GET", path, headers=headers))
        answers += repr(server.call("POST", "/models/rates/predict", b"{", bearer(text)))
    time.sleep(1.5)  # the access log is written in the background
    # The token of the machine's own processes is the one secret that is meant to lie there.
    files = [path for path in box.home.root.rglob("*") if path.is_file() and path.name != "server.token"]
    stored = {path.name: path.read_bytes() for path in files}
    arguments = " ".join(psutil.Process(server.process.pid).cmdline())
    assert any("access" in name for name in stored)
    local = (box.home.run / "server.token").read_text()
    for text in [*secrets.values(), wrong, local]:
        secret = text.split("_")[2]
        for name, content in stored.items():
            assert secret.encode() not in content, name
            assert bytes.fromhex(secret) not in content, name
        assert secret not in answers
        assert secret not in arguments
        assert secret not in json.dumps([entry.to_dict() for entry in box.ledger.walk()])


def test_grpc_asks_for_the_same_tokens(guarded: tuple[Box, Server, dict[str, str]]) -> None:
    import grpc
    from mlops_box_services.stubs import open_inference_pb2 as pb
    from mlops_box_services.stubs.open_inference_pb2_grpc import GRPCInferenceServiceStub

    _, server, secrets = guarded
    ask(server, "GET", "/models")
    with grpc.insecure_channel(f"{server.address.host}:{server.address.grpc_port}") as channel:
        stub = GRPCInferenceServiceStub(channel)
        for metadata, code in (
            ((), grpc.StatusCode.UNAUTHENTICATED),
            ((("authorization", f"Bearer {new_token()}"),), grpc.StatusCode.UNAUTHENTICATED),
            ((("authorization", f"Bearer {secrets['feedback']}"),), grpc.StatusCode.PERMISSION_DENIED),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                stub.ServerMetadata(pb.ServerMetadataRequest(), metadata=metadata, timeout=20)
            assert refused.value.code() == code
        metadata = (("authorization", f"Bearer {secrets['predict']}"),)
        assert (
            stub.ServerMetadata(pb.ServerMetadataRequest(), metadata=metadata, timeout=20).name == "mlops-box"
        )


def own_addresses() -> list[str]:
    import psutil

    found = [
        address.address
        for group in psutil.net_if_addrs().values()
        for address in group
        if address.family == socket.AF_INET
    ]
    return [address for address in found if not address.startswith("127.")]


def test_it_is_reached_by_another_address_only_by_its_names(
    guarded: tuple[Box, Server, dict[str, str]],
) -> None:
    _, server, secrets = guarded
    for address in own_addresses()[:1]:
        connection = http.client.HTTPConnection(address, server.address.port, timeout=20)
        with contextlib.closing(connection):
            for host, wanted in (("box.local", 200), (address, 421)):
                connection.request("GET", "/models", headers={**bearer(secrets["predict"]), "Host": host})
                answer = connection.getresponse()
                answer.read()
                assert answer.status == wanted


def test_on_loopback_tokens_are_asked_for_where_that_is_wanted_and_by_every_worker(tmp_path: Path) -> None:
    with Box.open(tmp_path / "home", actor="tester") as box:
        register_projects(box)
        register_rate(box, 1.0, 1.0)
        secret = create_token(box, "app", ["predict"]).text
        with running(box.home.root, "--require-token", "--workers", "2", "--no-grpc") as server:

            def statuses(headers: dict[str, str]) -> set[int]:
                with ThreadPoolExecutor(6) as pool:
                    return set(
                        pool.map(lambda _: server.call("GET", "/models", headers=headers)[0], range(24))
                    )

            deadline = time.monotonic() + 30
            assert statuses({}) == {401}
            assert statuses(bearer(secret)) == {200}
            revoke_token(box, "app")
            while statuses(bearer(secret)) != {401} and time.monotonic() < deadline:
                time.sleep(0.1)
            assert statuses(bearer(secret)) <= {401, 429}
            assert server.stop() == 0
        assert not (box.home.run / "server.token").exists()
