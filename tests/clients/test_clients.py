"""What docs/clients.md promises of both clients, each row by a test: a real server, and a network that fails."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chaos.killable import Killable
from clients.conftest import NewClient, token_for
from clients.strings import ROOT, ClientError, Strings
from commands import done, hubbub
from tcp_proxy import TcpProxy
from wire.raw_clients import wait_until

# A heartbeat's answer as a frame, with what it may carry; every request is longer.
LONGEST_PONG = 16

# It has a server of its own, because it kills it.
mortal = pytest.mark.usefixtures("mortal")


def code_of(client: Strings, do: str, **what: object) -> str:
    """The error that a client answers with."""
    with pytest.raises(ClientError) as raised:
        client.do(do, **what)
    return raised.value.code


def hubbub_user(server: Killable, *command: str) -> None:
    """Run `hubbub user` on the accounts of a server."""
    done(hubbub("user", *command, "--engine", server.engine, cwd=Path.cwd()))


def test_a_wrong_password_is_told_at_once(new_client: NewClient) -> None:
    client = new_client(is_signed_in=False)
    assert code_of(client, "sign_in", user="percy", password="wrong") == "unauthorized"


@mortal
def test_an_ack_means_kept(new_client: NewClient, server: Killable, room: str) -> None:
    client = new_client()
    client.do("join", room=room)
    assert client.do("send", room=room, text="hi")["seq"] == 1
    server.restart()
    assert client.do("history", room=room, limit=10)["texts"] == ["hi"]


def test_each_message_comes_once_and_in_order(new_client: NewClient, room: str) -> None:
    percy, alice = new_client(), new_client("alice")
    for client in (percy, alice):
        client.do("join", room=room)
    sending = [client.begin("send", room=room, text=f"{n} {client}") for n in range(30) for client in (percy, alice)]
    for n, number in enumerate(sending):
        (percy, alice)[n % 2].answer(number)
    percy.do("send", room=room, text="end")
    assert percy.texts(room, "end") == alice.texts(room, "end")
    assert [event["seq"] for event in percy.events if event["event"] == "message"] == list(range(1, 62))


@mortal
def test_after_a_killed_server_nothing_is_lost_and_nothing_comes_twice(
    new_client: NewClient, server: Killable, room: str
) -> None:
    percy, alice = new_client(), new_client("alice")
    for client in (percy, alice):
        client.do("join", room=room)
        client.do("join", room=room[1:])
    sent = []
    for turn in range(3):
        sent += [percy.begin("send", room=room, text=f"{turn}.{n}") for n in range(20)]
        server.restart()
    for number in sent:
        percy.answer(number)
    percy.do("send", room=room[1:], text="end")
    percy.do("send", room=room, text="end")
    expected = [f"{turn}.{n}" for turn in range(3) for n in range(20)] + ["end"]
    assert percy.texts(room, "end") == expected
    assert alice.texts(room, "end") == expected
    assert alice.texts(room[1:], "end") == ["end"]


def test_what_is_asked_without_a_connection_waits_for_the_next(
    new_client: NewClient, network: TcpProxy, room: str
) -> None:
    client = new_client()
    client.do("join", room=room)
    network.cut()
    client.wait_for_event("offline")
    sending = client.begin("send", room=room, text="later")
    joining = client.begin("join", room=room[1:])
    network.heal()
    assert client.answer(sending)["seq"] == 1
    assert client.answer(joining)["room"] == room[1:]


def test_a_network_that_carries_nothing_is_noticed(new_client: NewClient, network: TcpProxy, room: str) -> None:
    client = new_client()
    client.do("join", room=room)
    since = len(client.events)
    network.hold()
    client.wait_for_event("offline", since)
    network.heal()
    client.wait_for_event("online", since)
    assert client.do("send", room=room, text="back")["seq"] == 1


def test_a_slow_network_is_only_slow(new_client: NewClient, network: TcpProxy, room: str) -> None:
    client = new_client()
    network.delay(0.3)
    client.do("join", room=room)
    sent = [client.begin("send", room=room, text=str(n)) for n in range(20)]
    assert [client.answer(number)["seq"] for number in sent] == list(range(1, 21))
    assert not any(event["event"] == "offline" for event in client.events)


@mortal
def test_a_server_that_drains_is_left_and_nothing_is_lost(new_client: NewClient, server: Killable, room: str) -> None:
    percy, alice = new_client(), new_client("alice")
    for client in (percy, alice):
        client.do("join", room=room)
    sent = [percy.begin("send", room=room, text=str(n)) for n in range(50)]
    assert server.now.stop() == 0
    server.restart()
    for number in sent:
        percy.answer(number)
    percy.do("send", room=room, text="end")
    assert percy.texts(room, "end") == alice.texts(room, "end") == [*map(str, range(50)), "end"]


@mortal
def test_what_is_too_fast_is_only_later(new_client: NewClient, room: str) -> None:
    client = new_client()
    client.do("join", room=room)
    sent = [client.begin("send", room=room, text=str(n)) for n in range(100)]
    assert [client.answer(number)["seq"] for number in sent] == list(range(1, 101))


def test_a_request_that_may_do_something_twice_is_unanswered(
    new_client: NewClient, network: TcpProxy, room: str
) -> None:
    client = new_client()
    client.do("join", room=room)
    network.hold()
    asked = client.begin("request", type="vote", payload={})
    wait_until(lambda: network.held > LONGEST_PONG)  # what was not written when the connection goes is in no doubt
    network.cut()
    with pytest.raises(ClientError, match="unanswered"):
        client.answer(asked)
    network.heal()


def test_the_same_key_is_the_same_message(new_client: NewClient, room: str) -> None:
    client = new_client()
    client.do("join", room=room)
    first = client.do("send", room=room, text="once", key="k")
    assert client.do("send", room=room, text="once", key="k")["seq"] == first["seq"]
    assert code_of(client, "send", room=room, text="other", key="k") == "conflict"


def test_refusals_are_told_by_their_code(new_client: NewClient, room: str) -> None:
    client = new_client()
    assert code_of(client, "send", room="not joined", text="hi") == "not_in_room"
    assert code_of(client, "join", room="dm:alice,bob") == "forbidden"
    assert code_of(client, "request", type="nothing", payload={}) == "unknown_type"
    client.do("join", room=room)
    assert code_of(client, "send", room=room, text="x" * 5_000) == "too_large"
    assert code_of(client, "send", room=room, text="x" * 20_000) == "too_large", (
        "a frame too large would end the connection"
    )
    assert not any(event["event"] == "offline" for event in client.events)


def test_a_room_goes_by_the_name_that_the_server_gives_it(new_client: NewClient) -> None:
    client = new_client()
    joined = client.do("join", room="Cafe\u0301 \uff2f\uff30\uff33")
    assert joined["room"] == "café ops"
    client.do("send", room="CAFÉ OPS", text="hi")
    assert client.texts("café ops", "hi") == ["hi"]


def test_a_room_that_was_left_is_not_entered_again(new_client: NewClient, network: TcpProxy, room: str) -> None:
    client = new_client()
    client.do("join", room=room)
    client.do("leave", room=room)
    since = len(client.events)
    network.drop()
    client.wait_for_event("online", since)
    assert code_of(client, "send", room=room, text="hi") == "not_in_room"


def test_who_comes_goes_types_and_reads_is_told(new_client: NewClient, room: str) -> None:
    percy, alice = new_client(), new_client("alice")
    percy.do("join", room=room)
    alice.do("join", room=room)
    percy.wait_for_event("members", room=room, users=["alice", "percy"])
    alice.do("typing", room=room, on=True)
    percy.wait_for_event("typing", room=room, users=["alice"])
    seq = percy.do("send", room=room, text="hi")["seq"]
    alice.do("mark_read", room=room, seq=seq)
    percy.wait_for_event("read", room=room, user="alice", seq=seq)
    alice.do("close")
    percy.wait_for_event("members", room=room, users=["percy"])


def test_changes_of_what_was_said_come_in_their_place(new_client: NewClient, network: TcpProxy, room: str) -> None:
    percy, alice = new_client(), new_client("alice")
    for client in (percy, alice):
        client.do("join", room=room)
    percy.do("send", room=room, text="hi")
    percy.do("edit", room=room, seq=1, text="hello")
    alice.wait_for_event("changed", room=room, seq=1, text="hello")
    alice.do("react", room=room, seq=1, emoji="+1", on=True)
    percy.wait_for_event("changed", room=room, seq=1, emoji="+1")
    network.cut()
    alice.wait_for_event("offline")
    deleting = percy.begin("delete", room=room, seq=1)
    network.heal()
    percy.answer(deleting)
    alice.wait_for_event("changed", room=room, seq=1, text="", deleted=True)
    assert alice.do("history", room=room, limit=1)["texts"] != ["hi"]
    assert [event["text"] for event in alice.events if event["event"] == "message"] == ["hi"]


def test_history_is_paged(new_client: NewClient, room: str) -> None:
    client = new_client()
    client.do("join", room=room)
    for n in range(1, 8):
        client.do("send", room=room, text=str(n))
    newest = client.do("history", room=room, limit=3)
    assert (newest["texts"], newest["more"]) == (["5", "6", "7"], True)
    assert client.do("history", room=room, before=3, limit=5)["texts"] == ["1", "2"]
    assert client.do("history", room=room, after=5, limit=5)["texts"] == ["6", "7"]
    assert client.do("join", room=room, history=2)["texts"] == ["6", "7"], "a join of a room that it is in"


@mortal
def test_a_log_that_has_begun_anew_is_told(tmp_path: Path, new_client: NewClient, server: Killable, room: str) -> None:
    client = new_client()
    client.do("join", room=room)
    for n in range(3):
        client.do("send", room=room, text=str(n))
    client.texts(room, "2")
    server.kill()
    for file in tmp_path.glob("log.db*"):
        file.unlink()
    server.start()
    gap = client.wait_for_event("gap")
    assert (gap["room"], gap["isNewLog"]) == (room, True)
    assert client.do("send", room=room, text="anew")["seq"] == 1
    assert client.texts(room, "anew")[-1] == "anew"


def test_a_session_that_is_ended_is_not_begun_again(new_client: NewClient, server: Killable, room: str) -> None:
    client = new_client("bob")
    client.do("join", room=room)
    hubbub_user(server, "revoke", "bob")
    assert client.wait_for_event("closed")["code"] == 4100
    assert code_of(client, "send", room=room, text="hi") == "closed"


def test_a_token_of_an_applications_signs_its_user_in(new_client: NewClient, room: str) -> None:
    client, other = new_client(is_signed_in=False), new_client()
    client.sign_in_by_token(token_for("Zoë <zoe@example.com>"))
    for each in (client, other):
        each.do("join", room=room)
    client.do("send", room=room, text="hi")
    message = other.wait_for_event("message", room=room, text="hi")
    assert message["from"] == "Zoë <zoe@example.com>"
    assert code_of(new_client(is_signed_in=False), "sign_in_by_token", token="no.good.token") == "unauthorized"
    assert code_of(new_client(is_signed_in=False), "sign_in_by_token", token="") == "unauthorized"


def test_a_token_is_renewed_before_it_runs_out(new_client: NewClient, room: str) -> None:
    lasting, renewing = (new_client(is_signed_in=False) for _ in range(2))
    renewing.sign_in_by_token(token_for("zoe", 3))
    renewing.do("set_token", token=token_for("zoe"))
    lasting.sign_in_by_token(token_for("zoe", 3), is_lasting=True)
    renewing.do("join", room=room)
    assert lasting.wait_for_event("closed")["code"] == 4100, "the time of both tokens is over"
    assert renewing.do("send", room=room, text="hi")["seq"] == 1
    assert [event["event"] for event in renewing.events].count("online") == 1
    assert not any(event["event"] == "offline" for event in renewing.events)


def test_a_session_that_has_run_out_is_gone_on_with_by_another_token(
    new_client: NewClient, server: Killable, room: str
) -> None:
    client, other, first = new_client(is_signed_in=False), new_client(), token_for("zoe")
    client.sign_in_by_token(first)
    for each in (client, other):
        each.do("join", room=room)
    client.do("set_token", token=token_for("zoe"))
    since = len(client.events)
    assert server.now.post("/logout", token=first)[0] == 204
    client.wait_for_event("offline", since)
    other.do("send", room=room, text="meanwhile")
    client.wait_for_event("online", since)
    assert client.texts(room, "meanwhile") == ["meanwhile"]


def test_who_is_turned_away_is_told_why(new_client: NewClient) -> None:
    client = new_client(is_signed_in=False)
    with pytest.raises(ClientError) as raised:
        client.sign_in_by_token(token_for("mallory"))
    assert (raised.value.code, raised.value.message) == ("forbidden", "The cinema is full.")
    assert [event["event"] for event in client.events].count("token") == 1, "and it does not come back"


def test_a_room_that_is_closed_is_told_and_not_entered_again(
    new_client: NewClient, server: Killable, network: TcpProxy, room: str
) -> None:
    hubbub_user(server, "role", "alice", "admin")
    percy, alice = new_client(), new_client("alice")
    percy.do("join", room=room)
    percy.do("send", room=room, text="hi")
    alice.do("request", type="admin_close_room", payload={"room": room})
    percy.wait_for_event("removed", room=room)
    since = len(percy.events)
    network.drop()
    percy.wait_for_event("online", since)
    assert code_of(percy, "send", room=room, text="hi") == "forbidden"


def test_each_row_of_the_table_names_a_test_that_there_is() -> None:
    rows = re.findall(r"^\| (?!behaviour|---).*\| `(\w+)` \|$", (ROOT / "docs" / "clients.md").read_text(), re.M)
    here = set(re.findall(r"^def (test_\w+)\(", Path(__file__).read_text(), re.M)) - {
        "test_each_row_of_the_table_names_a_test_that_there_is"
    }
    assert set(rows) == here
