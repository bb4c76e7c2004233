"""What server processes tell each other arrives as it was sent, and what is no message is refused."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
from mlops_box_services.workers.load_meter import LoadMeter, used_and_waited_s
from mlops_box_services.workers.membership import Membership
from mlops_box_services.workers.messages import (
    Ask,
    Bye,
    Channel,
    Flip,
    Leave,
    Message,
    Prepare,
    Prepared,
    Report,
    Shed,
    Told,
)
from mlops_box_services.workers.passing import give, pair, take, taken

from mlops_box.errors import IntegrityError
from mlops_box.serving.wanted import Wanted

MESSAGES: list[Message] = [
    Prepare(3, Wanted({"rates": (7, "abc")}).to_dict()),
    Prepared(3, {"rates": "golden"}, True),
    Flip(3, {}),
    Shed(4),
    Leave(),
    Ask(1, "snapshot"),
    Told(1, {"ready": True}),
    Report(0.5, 0.75, 0.001),
    Bye("x" * 300_000),
]


def test_messages_arrive_in_order_and_the_end_is_told() -> None:
    async def talk() -> list[Message | None]:
        here, there = pair()
        mine, other = await Channel.over(here), await Channel.over(there)
        for message in MESSAGES:
            mine.send(message)
        found = [await other.receive() for _ in MESSAGES]
        mine.close()
        mine.send(Leave())
        return [*found, await other.receive()]

    assert asyncio.run(talk()) == [*MESSAGES, None]


def test_what_is_wanted_travels() -> None:
    wanted = Wanted({"rates": (7, "abc"), "mill": (1, "")})
    assert Wanted.from_dict(wanted.to_dict()) == wanted


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'["Nothing", {}]', b'["Flip", {"generation": 1}]', b'["Flip"]']
)
def test_what_is_no_message_is_refused(body: bytes) -> None:
    async def hear() -> None:
        here, there = pair()
        there.sendall(struct.pack(">I", len(body)) + body)
        await (await Channel.over(here)).receive()

    with pytest.raises(IntegrityError, match="cannot be read"):
        asyncio.run(hear())


def test_a_connection_is_handed_over_whole() -> None:
    ours, theirs = pair()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    with client:
        client.sendall(b"before")
        assert give(ours, accepted)
        accepted.close()
        assert taken(ours) == 0
        (got,) = take(theirs)
        assert take(theirs) == []
        assert taken(ours) == 1
        with got:
            assert not got.get_inheritable()
            got.setblocking(True)
            assert got.recv(100) == b"before"
            got.sendall(b"answer")
        assert client.recv(100) == b"answer"
    theirs.close()
    assert not give(ours, client)


def test_what_was_taken_is_known_after_death_and_what_was_not_can_be_given_again() -> None:
    ours, theirs = pair()
    one, other = socket.socketpair()
    with one, other:
        assert give(ours, one)
        for connection in take(theirs):
            connection.close()
        assert give(ours, one)
        # It dies with one connection untaken: the system lets go of its copy, ours is as good as before.
        theirs.close()
        assert taken(ours) == 1
        assert taken(ours) is None
        other.sendall(b"request")
        ours, theirs = pair()
        assert give(ours, one)
        (got,) = take(theirs)
        assert got.recv(100) == b"request"
        got.close()


def test_a_member_finds_itself_on_its_command_line() -> None:
    member = Membership(2, 5, 7, 1234)
    assert Membership.parse(member.to_text()) == member


def test_the_meter_sees_work_and_lateness() -> None:
    async def work() -> list[Report]:
        found: list[Report] = []
        LoadMeter(found.append, every_s=0.2)
        while not found:
            before = used_and_waited_s()
            while sum(used_and_waited_s()) - sum(before) < 0.2:
                pass
            await asyncio.sleep(0)
        return found

    report = asyncio.run(work())[0]
    assert report.demand >= report.cpu > 0
    assert report.lag_s > 0.01
