"""Display names and links by which others sign up; a part of the vault."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from hubbub.acts import Role
from hubbub.engine import NewUser, Profile, SignUp, SignUpLink, WhyNot
from hubbub.engine.people import MAX_LINKS, MAX_LINKS_OF_USER
from hubbub.engine.redis.access import RedisAccess
from hubbub.engine.redis.calls import QUICK_S
from hubbub.events import encode

__all__ = ["RedisPeople"]


class KeptLink(msgspec.Struct):
    """A link, as it is kept.

    Attributes:
        ends: in milliseconds of the shared time; set when it is kept.
    """

    id: str
    by: str
    role: Role
    uses: int
    note: str
    ends: float = 0


decode_link = msgspec.json.Decoder(KeptLink).decode


class RedisPeople(RedisAccess):
    """What is kept of people."""

    async def profiles(self, users: Collection[str]) -> dict[str, Profile]:
        found = {}
        for user, name, standing, since in await self._run("profiles", *users, within_s=QUICK_S):
            role = Role(standing.decode().rstrip("!"))
            profile = Profile(user.decode(), name.decode(), role, None if since is None else int(since))
            found[profile.user] = profile
        return found

    async def name_of(self, user: str) -> str:
        found = await self.profiles([user])
        return found[user].name if user in found else ""

    async def set_name(self, user: str, name: str, keys: Collection[str]) -> bool | None:
        [outcome] = await self._run("set_name", user, name, *keys)
        return None if outcome == b"" else bool(outcome)

    async def show_as(self, user: str, name: str) -> None:
        await self._run("show_as", user, name, within_s=QUICK_S)

    async def change_password(self, user: str, old_hash: str, new_hash: str, keep: str) -> bool:
        what = user, old_hash, new_hash, keep
        is_done, ended = await self._run(
            "change_password", *self._telling, *what, is_repeatable=False, within_s=QUICK_S
        )
        self._end(ended)
        return bool(is_done)

    # Links

    async def put_link(self, secret: str, link: SignUpLink) -> WhyNot | None:
        kept = encode(KeptLink(link.id, link.by, link.role, link.uses, link.note))
        ttl_ms = round(link.left_s * 1000)
        [why_not] = await self._run("put_link", secret, ttl_ms, kept, MAX_LINKS, MAX_LINKS_OF_USER)
        return WhyNot[why_not.decode()] if why_not else None

    async def links(self) -> list[SignUpLink]:
        found = self._links_in(await self._run("links"))
        return sorted(found, key=lambda link: (link.left_s, link.id))

    async def link(self, secret: str) -> SignUpLink | None:
        found = self._links_in(await self._run("links", secret, within_s=QUICK_S))
        return found[0] if found else None

    async def drop_link(self, id_: str) -> bool:
        [was_open] = await self._run("drop_link", id_, is_repeatable=False)
        return bool(was_open)

    async def sign_up(self, secret: str, new: NewUser) -> SignUp:
        what = secret, new.user, new.password_hash, new.name, *new.keys
        [outcome] = await self._run("sign_up", *what, is_repeatable=False, within_s=QUICK_S)
        return SignUp[outcome.decode()]

    def _links_in(self, answer: Sequence[bytes]) -> list[SignUpLink]:
        """The links in an answer, which has told the shared time."""
        now_ms = self._time.now_ms()
        kept = [decode_link(text) for text in answer if text]
        return [
            SignUpLink(each.id, each.by, each.role, each.uses, (each.ends - now_ms) / 1000, each.note) for each in kept
        ]
