"""What is a channel, and who may do what in which."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from hubbub.door import channels as channels_module
from hubbub.door import namespaces as namespaces_module
from hubbub.door.channels import ChannelRules
from hubbub.door.codes import DoorError
from hubbub.door.namespaces import Namespace, Namespaces, Override
from hubbub.door.patterns import Expression
from hubbub.door.settings import ChannelSettings, DoorSettings, PersonalChannel


@dataclass
class Somebody:
    """A client of the door."""

    user: str = "42"
    subscriptions: dict[str, Any] = field(default_factory=dict)


NAMED = Somebody()
ANONYMOUS = Somebody("")
INSIDE = Somebody(subscriptions={"news": True})


def rules(*named: Namespace, without: Namespace | None = None, **more: Any) -> ChannelRules:
    return ChannelRules(DoorSettings(namespaces=Namespaces(without, named), **more))


def number(refused: pytest.ExceptionInfo[DoorError]) -> int:
    return int(refused.value.number)


def answer(channel: str, own: ChannelRules) -> str | int:
    """The name of a channel's namespace, or the number of the error."""
    try:
        return own.namespace(channel).name
    except DoorError as error:
        return int(error.number)


# Names


@pytest.mark.parametrize(
    ("channel", "found"),
    [
        *(("news", ""), ("general", ""), ("General", ""), ("a/b,c#d", ""), ("$news", ""), ("$", ""), (":", "")),
        *((":a", ""), ("$:a", ""), ("chat:", "chat"), ("chat:a", "chat"), ("chat:a:b", "chat"), ("$chat:a", "chat")),
        *(("chat:$a", "chat"), ("chat:#42", "chat"), ("chat:dm:a,b", "chat")),
        *(("Chat:a", 102), ("other:a", 102), ("$other:a", 102), ("$$chat:a", 102), ("chat :a", 102), ("", 102)),
        *(("dm:a,b", 102), ("dm:", 102), ("$dm:a,b", 102)),
        *(("a b", 107), ("é", 107), ("chat:é", 107), ("a\n", 107), ("\na", 107), ("a\x00", 107), ("a\x7f", 107)),
        *(("\ud800", 107), ("x" * 255, ""), ("x" * 256, 107), ("dm:" + "x" * 300, 107)),
    ],
)
def test_a_channel_has_its_namespace(channel: str, found: str | int) -> None:
    assert answer(channel, rules(Namespace(name="chat"))) == found


def test_a_room_of_two_is_no_channel_whatever_the_boundary_is() -> None:
    names = ChannelSettings(namespace_boundary="/")
    own = ChannelRules(DoorSettings(namespaces=Namespaces(boundary="/"), channel=names))
    assert answer("dm:a,b", own) == 102
    assert answer("chat:a", own) == ""


def test_names_may_be_written_in_another_way() -> None:
    names = ChannelSettings(private_prefix="!", namespace_boundary="::", user_boundary="@", user_separator="+")
    spaces = Namespaces(
        Namespace(allow_user_limited_channels=True), [Namespace(name="chat")], boundary="::", private_prefix="!"
    )
    own = ChannelRules(DoorSettings(namespaces=spaces, channel=names))
    assert (answer("chat::a", own), answer("!chat::a", own), answer("chat:a", own)) == ("chat", "chat", "")
    assert own.may_subscribe(NAMED, "pair@7+42", own.namespace("pair@7+42"))
    assert not own.may_subscribe(NAMED, "pair@7,42", own.namespace("pair@7,42"))


def test_an_expression_is_for_the_part_that_is_the_channels_own() -> None:
    space = Namespace(name="chat", channel_regex=Expression("^[a-z]+$"))
    own = rules(space, without=Namespace(channel_regex=Expression("^[$a-z]+$")))
    for channel in ("chat:abc", "$chat:abc", "abc", "$abc"):
        assert isinstance(answer(channel, own), str)
    for channel in ("chat:ab1", "chat:", "chat:a:b", "ABC"):
        assert answer(channel, own) == 107


def test_what_is_remembered_of_names_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels_module, "MAX_KNOWN", 10)
    own = rules(Namespace(name="chat"))
    for count in range(100):
        own.namespace(f"chat:{count}")
        assert answer(f"other:{count}", own) == 102
    assert len(own._known) <= 10


def test_what_is_remembered_of_namespaces_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces_module, "MAX_KNOWN", 10)
    spaces = Namespaces(None, [Namespace(name="chat")])
    for count in range(100):
        for _ in range(2):
            assert spaces.of(f"chat:{count}") is spaces.named["chat"]
            assert spaces.of(f"other:{count}") is None
            assert spaces.of(f"{count}") is spaces.without
    assert len(spaces._known) <= 10


# Subscribing


@pytest.mark.parametrize(
    ("options", "named", "anonymous"),
    [
        ({}, False, False),
        ({"allow_subscribe_for_client": True}, True, False),
        ({"allow_subscribe_for_anonymous": True}, False, False),
        ({"allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True}, True, True),
    ],
)
def test_a_namespace_says_who_may_subscribe(options: dict[str, Any], named: bool, anonymous: bool) -> None:  # a table
    own, space = rules(), Namespace(**options)
    for client, may in ((NAMED, named), (ANONYMOUS, anonymous)):
        assert own.may_subscribe(client, "news", space) is may
        own.check_subscribe(client, "news", space, has_token=True)
        assert not own.may_subscribe(client, "$news", space)
        own.check_subscribe(client, "$news", space, has_token=True)
        if not may:
            with pytest.raises(DoorError) as refused:
                own.check_subscribe(client, "news", space, has_token=False)
            assert number(refused) == 103


@pytest.mark.parametrize(
    ("channel", "user", "may"),
    [
        *(("news#42", "42", True), ("dialog#7,42", "42", True), ("dialog#7,42", "7", True), ("#42", "42", True)),
        *(("a#b#42", "42", True), ("news#42", "4", False), ("news#42", "2", False), ("news#420", "42", False)),
        *(("news#042", "42", False), ("news#4,2", "42", False), ("42#7", "42", False), ("news#", "", False)),
        *(("news#,", "", False), ("dialog#7,42", "7,42", False), ("news#42#7", "42", False), ("$news#42", "42", False)),
        ("news#Ann", "ann", False),
    ],
)
def test_a_channel_may_be_named_after_its_users(channel: str, user: str, may: bool) -> None:  # a table
    space = Namespace(allow_user_limited_channels=True)
    assert rules().may_subscribe(Somebody(user), channel, space) is may
    # Whoever else may subscribe there, may not to these.
    open_space = Namespace(allow_user_limited_channels=True, allow_subscribe_for_client=True)
    assert rules().may_subscribe(Somebody(user), channel, open_space) is may


def test_a_boundary_of_users_means_nothing_unless_it_is_switched_on() -> None:
    assert not rules().may_subscribe(NAMED, "news#42", Namespace())
    assert rules().may_subscribe(NAMED, "news#7", Namespace(allow_subscribe_for_client=True))


def test_who_needs_no_token_needs_one_for_private_channels() -> None:
    own = rules(insecure=True)
    assert own.may_subscribe(ANONYMOUS, "news#7", Namespace(allow_user_limited_channels=True))
    assert not own.may_subscribe(ANONYMOUS, "$news", Namespace())
    for check in (own.check_publish, own.check_history, own.check_presence):
        check(ANONYMOUS, "news", Namespace(presence=True, history_size=1, history_ttl=1.0))


@pytest.mark.parametrize("what", ["history", "presence"])
def test_a_subscription_may_ask_for_what_its_client_may_see(what: str) -> None:
    own = rules()

    def asked(space: Namespace, client: Somebody) -> bool:
        if what == "presence":
            return own.may_see_joins(client, space)
        assert own.may_recover(client, space) == own.may_position(client, space)
        return own.may_recover(client, space)

    def space(**options: bool) -> Namespace:
        more: dict[str, Any] = {f"allow_{what}_for_{name}": True for name in options}
        return Namespace(join_leave=True, **more)

    assert not asked(Namespace(join_leave=True), NAMED)
    for name in ("client", "subscriber"):
        assert asked(space(**{name: True}), NAMED)
        assert not asked(space(**{name: True}), ANONYMOUS)
        assert asked(space(anonymous=True, **{name: True}), ANONYMOUS)
    assert not rules(insecure=True).may_see_joins(NAMED, Namespace())
    assert own.may_recover(NAMED, Namespace(allow_recovery=True))
    assert own.may_position(NAMED, Namespace(allow_positioning=True))
    assert not own.may_position(NAMED, Namespace(allow_recovery=True))


# Asking


ON: dict[str, Any] = {"presence": True, "history_size": 10, "history_ttl": 60.0}


@pytest.mark.parametrize("what", ["publish", "history", "presence"])
def test_a_namespace_says_who_may_ask(what: str) -> None:
    own = rules()
    check = {"publish": own.check_publish, "history": own.check_history, "presence": own.check_presence}[what]

    def allows(client: Somebody, *names: str) -> bool:
        space = Namespace(**(ON | {f"allow_{what}_for_{name}": True for name in names}))
        try:
            check(client, "news", space)
        except DoorError as error:
            assert int(error.number) == 103
            return False
        return True

    inside = Somebody("", {"news": True})
    assert not any(allows(each) for each in (NAMED, ANONYMOUS, INSIDE, inside))
    assert [allows(each, "client") for each in (NAMED, ANONYMOUS, INSIDE, inside)] == [True, False, True, False]
    assert [allows(each, "subscriber") for each in (NAMED, ANONYMOUS, INSIDE, inside)] == [False, False, True, False]
    assert not any(allows(each, "anonymous") for each in (NAMED, ANONYMOUS, INSIDE, inside))
    assert [allows(each, "subscriber", "anonymous") for each in (ANONYMOUS, inside)] == [False, True]
    assert allows(ANONYMOUS, "client", "anonymous")


@pytest.mark.parametrize(
    "options", [{}, {"history_size": 1}, {"history_ttl": 1.0}, {"history_size": 0, "history_ttl": 1.0}]
)
def test_what_is_off_is_not_available_to_anybody(options: dict[str, Any]) -> None:
    space = Namespace(allow_history_for_client=True, allow_presence_for_client=True, **options)
    for own in (rules(), rules(insecure=True)):
        for check in (own.check_history, own.check_presence):
            with pytest.raises(DoorError) as refused:
                check(INSIDE, "news", space)
            assert number(refused) == 108


# Options


def test_a_history_of_nothing_is_not_kept() -> None:
    assert (Namespace().keeps, Namespace().has_history) == (True, False)
    assert not Namespace(history_size=0).keeps
    assert Namespace(history_size=1, history_ttl=1.0).has_history


def test_a_subscription_may_have_other_options() -> None:
    space = Namespace(name="chat", presence=True, join_leave=True)
    assert space.overridden(None) is space
    assert space.overridden(Override()) is space
    found = space.overridden(Override(presence=False, force_recovery=True))
    assert (found.presence, found.join_leave, found.force_recovery) == (False, True, True)


def test_a_user_has_a_channel_of_its_own_where_that_is_on() -> None:
    assert rules().personal("42") is None
    own = rules(personal=PersonalChannel(enabled=True))
    assert (own.personal("42"), own.personal("")) == ("#42", None)
    assert rules(personal=PersonalChannel(enabled=True, personal_channel_namespace="me")).personal("42") == "me:#42"
