"""The operator's rules: patterns, and the first one that fits."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.acts import Act, Role
from hubbub.errors import ConfigError
from hubbub.rules import BY_ROLE, MAX_RULES, Pattern, Rule, Rules

MEMBER = Role.MEMBER


def can(rules: Rules, user: str, room: str | None, role: Role = MEMBER) -> set[str]:
    """The acts of a user, by their names."""
    rights = rules.rights(user, role, room)
    return {act.name.lower() for act in Act if rights & act}


# Patterns


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("general", ["general"], ["general2", "genera", "", "General"]),
        ("team-*", ["team-", "team-a", "team-a b"], ["team", "a team-", "Team-a"]),
        ("*-staff", ["-staff", "a-staff"], ["staff", "a-staff2"]),
        ("a*b*c", ["abc", "a1b2c", "abbc", "abcbc"], ["ac", "acb", "bc", "ab"]),
        ("ab*ba", ["abba", "ab1ba"], ["aba"]),
        ("*", ["", "a"], []),
        ("**", ["", "a"], []),
        ("*a*a*", ["aa", "1a2a3"], ["a"]),
        ("caf\u0065\u0301-*", ["caf\u00e9-a"], ["cafe-a"]),
        ("dm:*", ["dm:alice,bob"], ["dm"]),
        ("a.c", ["a.c"], ["abc"]),
    ],
)
def test_a_star_stands_for_any_characters_and_nothing_else_for_others(
    pattern: str, fitting: list[str], others: list[str]
) -> None:
    assert [name for name in [*fitting, *others] if Pattern(pattern).fits(name)] == fitting


def fits_plainly(pattern: str, name: str) -> bool:
    """The same, by trying everything."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(fits_plainly(pattern[1:], name[start:]) for start in range(len(name) + 1))
    return bool(name) and name[0] == pattern[0] and fits_plainly(pattern[1:], name[1:])


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_a_pattern_fits_what_trying_everything_says(pattern: str, name: str) -> None:
    assert Pattern(pattern).fits(name) == fits_plainly(pattern, name)


def test_no_pattern_takes_long() -> None:
    pattern, name = Pattern("*a" * 100 + "*b"), "a" * 64
    steps = 0

    def count(_frame: FrameType, _event: str, _arg: Any) -> Any:
        nonlocal steps
        steps += 1
        return count

    old = sys.gettrace()
    sys.settrace(count)
    try:
        assert not pattern.fits(name)
    finally:
        sys.settrace(old)
    assert steps < 1000


# Rules


def test_without_rules_the_role_decides() -> None:
    rules = Rules()
    everything = {"join", "read", "post", "presence", "create", "manage", "invite"}
    assert can(rules, "percy", "any", Role.ADMIN) == everything
    assert can(rules, "percy", "any") == {"join", "read", "post", "presence", "create"}
    assert can(rules, "percy", "any", Role.GUEST) == {"join", "read", "presence"}


def test_the_first_rule_that_fits_decides_alone() -> None:
    rules = Rules(
        [
            Rule(rooms=("news",), users=("percy",), may=("join", "post")),
            Rule(rooms=("news", "old-*"), may=("join", "read")),
            Rule(rooms=("old-*",), may=("join", "post")),
        ]
    )
    assert can(rules, "percy", "news") == {"join", "post"}
    assert can(rules, "alice", "news") == {"join", "read"}
    assert can(rules, "percy", "old-times") == {"join", "read"}
    assert rules.rights("percy", MEMBER, "elsewhere") == BY_ROLE[MEMBER]


def test_a_rule_is_about_users_and_roles_or_about_everybody() -> None:
    rules = Rules([Rule(rooms=("a",), roles=("guest",), users=("percy",), may=("join",)), Rule(rooms=("b",))])
    assert can(rules, "percy", "a") == {"join"}
    assert can(rules, "alice", "a", Role.GUEST) == {"join"}
    assert rules.rights("alice", MEMBER, "a") == BY_ROLE[MEMBER]
    assert [can(rules, "alice", "b", role) for role in Role] == [set(), set(), set()]


def test_where_the_room_does_not_matter_rules_for_all_rooms_count() -> None:
    rules = Rules([Rule(rooms=("a*",), may=()), Rule(rooms=("b", "*"), roles=("guest",), may=("join", "post"))])
    assert can(rules, "alice", None, Role.GUEST) == {"join", "post"}
    assert rules.rights("alice", MEMBER, None) == BY_ROLE[MEMBER]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (Rule(may=("join",)), "permissions, rule 1: rooms"),
        (Rule(rooms=("",)), "permissions, rule 1: rooms"),
        (Rule(rooms=("a" * 257,)), "permissions, rule 1: rooms"),
        (Rule(rooms=("*",), roles=("root",)), "'root' is no role; roles are admin, member, guest"),
        (Rule(rooms=("*",), may=("write",)), "nobody may 'write'; `may` is some of join, read, post"),
        (Rule(rooms=("*",), may=("post",)), "who may `post` has to `join`"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_and_named(rule: Rule, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Rules([rule])
    assert told in str(refused.value)


def test_to_manage_a_room_nobody_has_to_enter_it() -> None:
    assert can(Rules([Rule(rooms=("*",), may=("manage",))]), "percy", "any") == {"manage"}


def test_there_are_only_so_many_rules() -> None:
    with pytest.raises(ConfigError, match="at most 200"):
        Rules([Rule(rooms=("*",))] * (MAX_RULES + 1))


def test_private_rooms_are_found_by_their_names() -> None:
    rules = Rules(private_rooms=["team-*", "board"])
    assert [room for room in ("team-a", "board", "boards", "general") if rules.is_private(room)] == ["team-a", "board"]
    assert not Rules().is_private("team-a")
    with pytest.raises(ConfigError, match="private-rooms"):
        Rules(private_rooms=[""])
