"""Display names and links in the memory engine."""

from __future__ import annotations

from collections.abc import Callable, Collection

from msgspec.structs import replace

from hubbub.engine import Account, Change, WhyNot
from hubbub.engine.people import MAX_LINKS, MAX_LINKS_OF_USER, NewUser, Profile, SignUp, SignUpLink
from hubbub.looks import key_of_user

__all__ = ["MemoryPeople"]


class MemoryPeople:
    """What is kept of people, in dictionaries: a part of the memory engine."""

    _clock: Callable[[], float]
    _wall: Callable[[], float]
    _accounts: dict[str, Account]

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        # Of users without an account.
        self._shown: dict[str, str] = {}
        self._since: dict[str, int] = {}
        # Who looks so.
        self._looks: dict[str, set[str]] = {}
        # Links with their ends, by the hashes of their secrets.
        self._links: dict[str, tuple[SignUpLink, float]] = {}

    def _end_all(self, user: str, keep: str = "") -> int:
        raise NotImplementedError

    def _note_change(self) -> Change:
        raise NotImplementedError

    # Names

    async def profiles(self, users: Collection[str]) -> dict[str, Profile]:
        found = {}
        for user in users:
            account = self._accounts.get(user)
            if account is not None:
                found[user] = Profile(user, self._names.get(user, ""), account.role, self._since.get(user))
            elif user in self._shown:
                found[user] = Profile(user, self._shown[user])
        return found

    async def name_of(self, user: str) -> str:
        return self._names.get(user, "") or self._shown.get(user, "")

    async def show_as(self, user: str, name: str) -> None:
        if name and user not in self._accounts:
            self._shown[user] = name
        else:
            self._shown.pop(user, None)

    async def set_name(self, user: str, name: str, keys: Collection[str]) -> bool | None:
        if user not in self._accounts:
            return None
        if self._is_taken(keys, user):
            return False
        self._drop_looks(user)
        self._note_name(user, name, [key_of_user(user), *keys])
        return True

    def _is_taken(self, keys: Collection[str], user: str) -> bool:
        """Whether another account looks so."""
        return any(self._looks.get(key, set()) - {user} for key in keys)

    def _note_name(self, user: str, name: str, keys: Collection[str]) -> None:
        self._names[user] = name
        for key in keys:
            self._looks.setdefault(key, set()).add(user)

    def _note_account(self, user: str) -> None:
        """Take note of a new account."""
        self._shown.pop(user, None)
        self._since[user] = int(self._wall() * 1000)
        self._note_name(user, "", [key_of_user(user)])

    def _forget_person(self, user: str) -> None:
        """Forget what is kept of an account that is gone."""
        self._drop_looks(user)
        self._names.pop(user, None)
        self._since.pop(user, None)
        self._drop_links_of(user)

    def _drop_looks(self, user: str) -> None:
        for key in [key for key, users in self._looks.items() if user in users]:
            self._looks[key].discard(user)
            if not self._looks[key]:
                del self._looks[key]

    # Passwords

    async def change_password(self, user: str, old_hash: str, new_hash: str, keep: str) -> bool:
        account = self._accounts.get(user)
        if account is None or account.password_hash != old_hash:
            return False
        self._accounts[user] = replace(account, password_hash=new_hash)
        self._end_all(user, keep)
        return True

    # Links

    async def put_link(self, secret: str, link: SignUpLink) -> WhyNot | None:
        if link.by and (link.by not in self._accounts or self._accounts[link.by].is_blocked):
            return WhyNot.NO_ACCOUNT
        self._drop_old_links()
        of_user = sum(other.by == link.by for other, _ in self._links.values())
        if len(self._links) >= MAX_LINKS or (link.by and of_user >= MAX_LINKS_OF_USER):
            return WhyNot.TOO_MANY
        self._links[secret] = link, self._clock() + link.left_s
        return None

    async def links(self) -> list[SignUpLink]:
        self._drop_old_links()
        now = self._clock()
        found = [replace(link, left_s=ends - now) for link, ends in self._links.values()]
        return sorted(found, key=lambda link: (link.left_s, link.id))

    async def link(self, secret: str) -> SignUpLink | None:
        self._drop_old_links()
        if secret not in self._links:
            return None
        link, ends = self._links[secret]
        return replace(link, left_s=ends - self._clock())

    async def drop_link(self, id_: str) -> bool:
        self._drop_old_links()
        found = [secret for secret, (link, _) in self._links.items() if link.id == id_]
        for secret in found:
            del self._links[secret]
        return bool(found)

    async def sign_up(self, secret: str, new: NewUser) -> SignUp:
        self._drop_old_links()
        if secret not in self._links:
            return SignUp.NO_LINK
        if new.user in self._accounts or self._is_taken(new.keys, new.user):
            return SignUp.TAKEN
        link, ends = self._links[secret]
        if link.uses > 1:
            self._links[secret] = replace(link, uses=link.uses - 1), ends
        else:
            del self._links[secret]
        self._accounts[new.user] = Account(new.user, new.password_hash, link.role)
        self._note_account(new.user)
        self._note_name(new.user, new.name, new.keys)
        self._note_change()
        return SignUp.DONE

    def _drop_old_links(self) -> None:
        now = self._clock()
        self._links = {secret: (link, ends) for secret, (link, ends) in self._links.items() if now < ends}

    def _drop_links_of(self, user: str) -> None:
        self._links = {secret: (link, ends) for secret, (link, ends) in self._links.items() if link.by != user}
