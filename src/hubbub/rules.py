"""The operator's rules: which users and roles may do what in which rooms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hubbub.acts import Act, Role
from hubbub.errors import ConfigError
from hubbub.naming import fold

__all__ = ["BY_ROLE", "MAX_RULES", "Pattern", "Rule", "Rules"]

# Each entry into a room looks at them one after the other.
MAX_RULES = 200
MAX_PATTERNS = 200
MAX_PATTERN_CHARS = 256

ACTS = {act.name.lower(): act for act in Act}

# What a role may do where no rule says otherwise.
ALL_ACTS = sum(Act)
BY_ROLE: dict[Role, int] = {
    Role.ADMIN: ALL_ACTS,
    Role.MEMBER: ALL_ACTS & ~Act.MANAGE & ~Act.INVITE,
    Role.GUEST: Act.JOIN | Act.READ | Act.PRESENCE,
}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Who may do what in which rooms, as the settings have it.  The first rule that fits decides alone.

    Attributes:
        rooms: names of rooms; `*` in one stands for any characters.
        roles: the roles that it is about.
        users: the users that it is about; everybody, without users and roles.
        may: what they may do (`join`, `read`, `post`, `presence`, `create`, `manage`, `invite`), and nothing else.
    """

    rooms: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    may: tuple[str, ...] = ()


class Pattern:
    """A name of rooms, in which each `*` stands for any characters; it fits however they are written.

    The pieces between the stars are looked for once each, from left to right, so there is nothing to go back for.
    """

    __slots__ = ("_first", "_is_exact", "_last", "_middle", "is_any")

    def __init__(self, text: str) -> None:
        first, *rest = map(fold, text.split("*"))
        self._is_exact = not rest
        self._first = first
        self._middle = [piece for piece in rest[:-1] if piece]
        self._last = rest[-1] if rest else ""
        self.is_any = not text.strip("*")

    def fits(self, name: str) -> bool:
        """Whether what a room goes by is one of these."""
        if self._is_exact:
            return name == self._first
        at, end = len(self._first), len(name) - len(self._last)
        if at > end or not name.startswith(self._first) or not name.endswith(self._last):
            return False
        for piece in self._middle:
            found = name.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True


class ReadRule:
    """A rule, ready to be asked."""

    __slots__ = ("_is_for_all", "_patterns", "_roles", "_users", "is_everywhere", "rights")

    def __init__(self, rule: Rule, where: str) -> None:
        self._patterns = read_patterns(rule.rooms, f"{where}: rooms")
        self._roles = frozenset(read_role(role, where) for role in rule.roles)
        self._users = frozenset(rule.users)
        self._is_for_all = not self._roles and not self._users
        self.is_everywhere = any(pattern.is_any for pattern in self._patterns)
        self.rights = sum({read_act(word, where) for word in rule.may})
        if self.rights & ~Act.MANAGE and not self.rights & Act.JOIN:
            raise ConfigError(f"{where}: who may `{rule.may[0]}` has to `join` first; add it to `may`")
        if self.rights & Act.INVITE and not self.is_everywhere:
            raise ConfigError(f'{where}: `invite` is about the server, and not about rooms; give it with rooms = ["*"]')

    def is_about(self, user: str, role: Role) -> bool:
        return self._is_for_all or role in self._roles or user in self._users

    def covers(self, room: str) -> bool:
        return self.is_everywhere or any(pattern.fits(room) for pattern in self._patterns)


class Rules:
    """All rules, and which rooms need an invitation.

    Raises:
        ConfigError: a rule says what cannot be; one line that names it, and what would be right.
    """

    def __init__(self, rules: Sequence[Rule] = (), private_rooms: Sequence[str] = ()) -> None:
        if len(rules) > MAX_RULES:
            raise ConfigError(f"permissions: {len(rules)} rules, at most {MAX_RULES}")
        self._rules = [ReadRule(rule, f"permissions, rule {number}") for number, rule in enumerate(rules, 1)]
        self._everywhere = [rule for rule in self._rules if rule.is_everywhere]
        self._private = read_patterns(private_rooms, "private-rooms") if private_rooms else []

    @property
    def is_empty(self) -> bool:
        """Whether all that counts is the role of a user."""
        return not self._rules and not self._private

    def is_private(self, room: str) -> bool:
        """Whether a room needs an invitation."""
        return bool(self._private) and any(pattern.fits(room) for pattern in self._private)

    def rights(self, user: str, role: Role, room: str | None) -> int:
        """The acts of a user in a room, as bits; without a room, where it does not matter in which."""
        for rule in self._rules if room is not None else self._everywhere:
            if rule.is_about(user, role) and (room is None or rule.covers(room)):
                return rule.rights
        return BY_ROLE[role]


def read_patterns(patterns: Sequence[str], where: str) -> list[Pattern]:
    """The patterns that a setting names."""
    if not 0 < len(patterns) <= MAX_PATTERNS or not all(0 < len(text) <= MAX_PATTERN_CHARS for text in patterns):
        raise ConfigError(
            f'{where}: 1 to {MAX_PATTERNS} names of rooms, of 1 to {MAX_PATTERN_CHARS} characters, as in ["team-*"]'
        )
    return [Pattern(text) for text in patterns]


def read_role(word: str, where: str) -> Role:
    try:
        return Role(word)
    except ValueError:
        raise ConfigError(f"{where}: {word[:40]!r} is no role; roles are {', '.join(Role)}") from None


def read_act(word: str, where: str) -> Act:
    if word not in ACTS:
        raise ConfigError(f"{where}: nobody may {word[:40]!r}; `may` is some of {', '.join(ACTS)}")
    return ACTS[word]
