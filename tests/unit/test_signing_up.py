"""Passwords, invitations and signing up, asked without HTTP: a request goes in, a response comes out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from argon2.exceptions import VerifyMismatchError

from hubbub import accounts as accounts_module
from hubbub.accounts import Accounts
from hubbub.acts import Role
from hubbub.http.app import App
from hubbub.http.site import read_site
from hubbub.otp import OneTimePasswords
from hubbub.rules import Rule
from hubbub.testing import Stage, at_work
from hubbub.wire.door import Door, OtpCredentials
from hubbub.wire.request import Request, Response

pytestmark = pytest.mark.anyio

HERE = "192.0.2.1"
ELSEWHERE = "192.0.2.7"
PASSWORD = "a long password"
MEMBERS_INVITE = Rule(rooms=("*",), roles=("member",), may=("join", "read", "post", "presence", "create", "invite"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class QuickHasher:
    """Hashes at once, and counts how often.

    Attributes:
        hashed: the passwords that were hashed.
    """

    hashed: list[str]

    def hash(self, password: str) -> str:
        self.hashed.append(password)
        return f"hash of {password}"

    def verify(self, hashed: str, password: str) -> bool:
        if hashed != f"hash of {password}":
            raise VerifyMismatchError
        return True


class Notes:
    """An audit log in memory."""

    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []

    def note(self, act: str, *, actor: str, outcome: str, **more: object) -> None:
        self.lines.append({"act": act, "actor": actor, "outcome": outcome, **more})

    def refuse(self, act: str, *, actor: str, address: str, outcome: str, **more: object) -> None:
        self.note(act, actor=actor, outcome=outcome, address=address, **more)

    def tick(self) -> None: ...

    def told(self, act: str) -> list[tuple[object, object]]:
        """Who has done something, and what came of it."""
        return [(line["actor"], line["outcome"]) for line in self.lines if line["act"] == act]


class Desk:
    """The routes, as a client asks them."""

    def __init__(self, stage: Stage, notes: Notes) -> None:
        settings = stage.settings
        self.stage = stage
        self.notes = notes
        self.accounts = Accounts(
            stage.engine, session_ttl_s=settings.session_ttl, max_user_name=settings.max_user_name, clock=stage.clock
        )
        otps = OneTimePasswords(stage.engine, ttl_s=5, per_account=64, in_all=1000)
        door = Door(stage.core, OtpCredentials(otps), settings)
        self._app = App(stage.core, self.accounts, otps, settings, door, Countings(), read_site())

    async def ask(
        self, method: str, path: str, body: object = b"", *, token: str = "", address: str = HERE, **headers: str
    ) -> Response:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {name: [value] for name, value in headers.items()}
        if token:
            fields["authorization"] = [f"Bearer {token}"]
        return await self._app.answer(Request(method, path, "", fields, address, sent))

    async def log_in(self, user: str, role: Role = Role.MEMBER) -> str:
        """The token of a session of a user, who gets an account."""
        await self.accounts.add(user, PASSWORD, role)
        await self.stage.core.refresh_access()
        answer = await self.ask("POST", "/login", {"username": user, "password": PASSWORD})
        return str(of(answer)["token"])

    async def invite(self, token: str, **terms: object) -> str:
        """An invitation."""
        return str(of(await self.ask("POST", "/invitations", terms, token=token))["link_token"])

    async def sign_up(self, invitation: str, user: str, *, address: str = HERE, **more: str) -> Response:
        body = {"invitation": invitation, "username": user, "password": PASSWORD, **more}
        return await self.ask("POST", "/signup", body, address=address)


class Countings:
    def answer(self, accept: str) -> tuple[bytes, str]:
        return accept.encode(), "text/plain"


@asynccontextmanager
async def desk(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[Desk]:
    QuickHasher.hashed = []
    monkeypatch.setattr(accounts_module, "PasswordHasher", QuickHasher)
    notes = Notes()
    async with at_work(audit=notes, **settings) as stage:
        here = Desk(stage, notes)
        try:
            yield here
        finally:
            here.accounts.close()


def of(response: Response, status: int = 200) -> Any:
    """What an answer says."""
    assert response.status == status, response
    return json.loads(response.body)


def refused(response: Response, status: int, code: str) -> str:
    error = of(response, status)["error"]
    assert error["code"] == code
    return str(error["message"])


# Passwords


async def test_a_password_is_changed_by_who_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as here:
        token = await here.log_in("percy")
        other = of(await here.ask("POST", "/login", {"username": "percy", "password": PASSWORD}))["token"]
        body = {"current": PASSWORD, "new": "another one"}
        assert (await here.ask("POST", "/password", body, token=token)).status == 204
        assert (await here.ask("POST", "/otp", token=token)).status == 200
        assert (await here.ask("POST", "/otp", token=other)).status == 401
        assert (await here.ask("POST", "/login", {"username": "percy", "password": PASSWORD})).status == 401
        assert (await here.ask("POST", "/login", {"username": "percy", "password": "another one"})).status == 200
        assert here.notes.told("password") == [("percy", "ok")]


async def test_a_wrong_present_password_is_403_and_counts_as_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as here:
        token = await here.log_in("percy")
        body = {"current": "a wrong one", "new": "another one"}
        for _ in range(10):
            refused(await here.ask("POST", "/password", body, token=token), 403, "forbidden")
        assert here.notes.told("password") == [("percy", "forbidden")] * 10
        waiting = asyncio.ensure_future(here.ask("POST", "/password", body, token=token))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not waiting.done()  # the clock stands still, and ten wrong ones have a delay
        waiting.cancel()
        assert (await here.ask("POST", "/otp", token=token)).status == 200


async def test_a_password_is_changed_with_a_session_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as here:
        await here.log_in("percy")
        body = {"current": PASSWORD, "new": "another one"}
        refused(await here.ask("POST", "/password", body), 401, "unauthorized")
        refused(await here.ask("POST", "/password", body, token="of nobody"), 401, "unauthorized")


@pytest.mark.parametrize("new", ["", "1234567", "x" * 1025])
async def test_passwords_that_users_choose_have_a_least_length(monkeypatch: pytest.MonkeyPatch, new: str) -> None:
    async with desk(monkeypatch) as here:
        token = await here.log_in("percy", Role.ADMIN)
        refused(await here.ask("POST", "/password", {"current": PASSWORD, "new": new}, token=token), 400, "bad_payload")
        invitation = await here.invite(token)
        body = {"invitation": invitation, "username": "anna", "password": new}
        assert "8 to 1024" in refused(await here.ask("POST", "/signup", body), 400, "bad_payload")
        assert (await here.sign_up(invitation, "anna")).status == 204


# Inviting


async def test_only_admins_and_whom_a_rule_lets_may_invite(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as here:
        admin, member = await here.log_in("anna", Role.ADMIN), await here.log_in("percy")
        guest = await here.log_in("gus", Role.GUEST)
        for token in (member, guest):
            for method, path in (("POST", "/invitations"), ("GET", "/invitations"), ("DELETE", "/invitations/1")):
                refused(await here.ask(method, path, token=token), 403, "forbidden")
        refused(await here.ask("POST", "/invitations", {}), 401, "unauthorized")
        for role in Role:
            assert await here.invite(admin, role=role)
    async with desk(monkeypatch, permissions=(MEMBERS_INVITE,)) as here:
        admin, member = await here.log_in("anna", Role.ADMIN), await here.log_in("percy")
        guest = await here.log_in("gus", Role.GUEST)
        assert await here.invite(member)
        assert await here.invite(member, role="guest")
        refused(await here.ask("POST", "/invitations", {"role": "admin"}, token=member), 403, "forbidden")
        refused(await here.ask("POST", "/invitations", {}, token=guest), 403, "forbidden")
        assert await here.invite(admin, role="admin")


@pytest.mark.parametrize(
    "terms",
    [
        {"uses": 0},
        {"uses": 1001},
        {"days": 0},
        {"days": 91},
        {"days": 1.5},
        {"role": "king"},
        {"note": "x" * 101},
        {"note": "a\nb"},
        [],
    ],
)
async def test_an_invitation_for_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, terms: object) -> None:
    async with desk(monkeypatch) as here:
        token = await here.log_in("anna", Role.ADMIN)
        assert (await here.ask("POST", "/invitations", terms, token=token)).status == 400


async def test_an_empty_body_is_an_invitation_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as here:
        token = await here.log_in("anna", Role.ADMIN)
        answer = of(await here.ask("POST", "/invitations", token=token))
        assert answer.keys() == {"id", "link_token", "expires"}
        assert answer["expires"] == "1970-01-08T00:16:40.000Z"


async def test_an_admin_sees_and_ends_all_and_another_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch, permissions=(MEMBERS_INVITE,)) as here:
        admin, member = await here.log_in("anna", Role.ADMIN), await here.log_in("percy")
        hers = of(await here.ask("POST", "/invitations", {"uses": 2, "note": "for all"}, token=admin))
        his = of(await here.ask("POST", "/invitations", {"days": 1}, token=member))
        listed = of(await here.ask("GET", "/invitations", token=admin))["invitations"]
        assert listed == [
            {"id": his["id"], "by": "percy", "role": "member", "uses": 1, "expires": his["expires"], "note": ""},
            {
                "id": hers["id"],
                "by": "anna",
                "role": "member",
                "uses": 2,
                "expires": hers["expires"],
                "note": "for all",
            },
        ]
        assert of(await here.ask("GET", "/invitations", token=member))["invitations"] == listed[:1]
        refused(await here.ask("DELETE", f"/invitations/{hers['id']}", token=member), 404, "not_found")
        refused(await here.ask("DELETE", f"/invitations/{hers['id']}"), 401, "unauthorized")
        assert (await here.ask("DELETE", f"/invitations/{his['id']}", token=admin)).status == 204
        refused(await here.ask("DELETE", f"/invitations/{his['id']}", token=member), 404, "not_found")
        assert here.notes.told("end invitation") == [("anna", "done")]
        assert here.notes.told("/invitations") == [("", "unauthorized")]  # whatever the id is
        refused(await here.sign_up(his["link_token"], "carl"), 403, "forbidden")
        assert (await here.sign_up(hers["link_token"], "carl")).status == 204


async def test_the_invitation_of_who_may_not_invite_any_more_is_not_good(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as here:
        await here.log_in("boss", Role.ADMIN)
        token = await here.log_in("anna", Role.ADMIN)
        invitation = await here.invite(token, uses=9)
        await here.stage.core.admin.set_role("anna", Role.MEMBER, "boss")
        refused(await here.ask("POST", "/signup/check", {"invitation": invitation}), 403, "forbidden")
        refused(await here.sign_up(invitation, "carl"), 403, "forbidden")
        await here.stage.core.admin.set_role("anna", Role.ADMIN, "boss")
        assert (await here.sign_up(invitation, "carl")).status == 204
        await here.stage.core.admin.set_blocked("anna", "boss", is_blocked=True)
        refused(await here.sign_up(invitation, "dora"), 403, "forbidden")


async def test_a_page_of_a_foreign_site_may_do_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as here:
        token = await here.log_in("anna", Role.ADMIN)
        invitation = await here.invite(token)
        foreign = {"origin": "https://evil.example", "host": "localhost:8080"}
        for method, path in (
            ("POST", "/password"),
            ("POST", "/invitations"),
            ("DELETE", "/invitations/1"),
            ("POST", "/signup"),
            ("POST", "/signup/check"),
        ):
            body = {"invitation": invitation, "username": "carl", "password": PASSWORD}
            refused(await here.ask(method, path, body, token=token, **foreign), 403, "forbidden")


# Signing up


async def test_who_has_an_invitation_signs_up_and_logs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as here:
        token = await here.log_in("anna", Role.ADMIN)
        invitation = await here.invite(token, role="guest")
        told = of(await here.ask("POST", "/signup/check", {"invitation": invitation}))
        assert told == {"role": "guest", "expires": "1970-01-08T00:16:40.000Z", "by": "anna"}
        assert (await here.sign_up(invitation, "carl", name="Carl C")).status == 204
        assert here.stage.core.ledger.role_of("carl") is Role.GUEST
        assert await here.stage.core.people.name_of("carl") == "Carl C"
        assert (await here.ask("POST", "/login", {"username": "carl", "password": PASSWORD})).status == 200
        assert here.notes.told("signup") == [("carl", "ok")]
        secrets = [line for line in here.notes.lines if invitation in json.dumps(line)]
        assert not secrets


async def test_all_that_is_not_good_is_answered_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as here:
        token = await here.log_in("anna", Role.ADMIN)
        used, late = await here.invite(token), await here.invite(token, days=1)
        ended = of(await here.ask("POST", "/invitations", {}, token=token))
        await here.ask("DELETE", f"/invitations/{ended['id']}", token=token)
        await here.sign_up(used, "carl")
        here.stage.clock.go(86_400)
        answers = [
            answer
            for invitation in (used, late, ended["link_token"], "unknown", "", "x" * 5000)
            for answer in (
                await here.sign_up(invitation, "dora"),
                await here.ask("POST", "/signup/check", {"invitation": invitation}, address=ELSEWHERE),
            )
        ]
        assert {answer.status for answer in answers} == {403}
        assert len({answer.body for answer in answers}) == 1


@pytest.mark.parametrize(
    ("user", "name"), [("anna", ""), ("4nna", "Anna"), ("carl", "ANNA"), ("rnax", ""), ("dora", "Max")]
)
async def test_a_name_that_is_taken_is_409_and_the_invitation_stays_good(
    monkeypatch: pytest.MonkeyPatch, user: str, name: str
) -> None:
    async with desk(monkeypatch) as here:
        token = await here.log_in("anna", Role.ADMIN)
        await here.log_in("max")
        invitation = await here.invite(token)
        refused(await here.sign_up(invitation, user, name=name), 409, "conflict")
        assert (await here.sign_up(invitation, "eve")).status == 204


@pytest.mark.parametrize(("user", "name"), [("Not A Name", ""), ("", ""), ("a" * 33, ""), ("carl", "\u200b")])
async def test_a_name_that_cannot_be_is_400_and_the_invitation_stays_good(
    monkeypatch: pytest.MonkeyPatch, user: str, name: str
) -> None:
    async with desk(monkeypatch) as here:
        invitation = await here.invite(await here.log_in("anna", Role.ADMIN))
        refused(await here.sign_up(invitation, user, name=name), 400, "bad_payload")
        assert (await here.sign_up(invitation, "eve")).status == 204


async def test_no_password_is_hashed_without_a_good_invitation(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as here:
        await here.log_in("anna", Role.ADMIN)
        before = len(QuickHasher.hashed)
        monkeypatch.setattr(accounts_module, "keys_of", None)  # working out what a name looks like would fail
        for _ in range(5):
            refused(await here.sign_up("unknown", "carl", name="Carl C"), 403, "forbidden")
        assert len(QuickHasher.hashed) == before


async def test_wrong_invitations_from_an_address_get_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as here:
        invitation = await here.invite(await here.log_in("anna", Role.ADMIN))
        for number in range(10):
            path, body = "/signup/check", {"invitation": f"wrong {number}"}
            refused(await here.ask("POST", path, body, address=ELSEWHERE), 403, "forbidden")
        waiting = asyncio.ensure_future(here.sign_up("wrong", "carl", address=ELSEWHERE))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not waiting.done()
        # Nobody else waits for that, nor does a login of that address.
        assert (await here.sign_up(invitation, "dora")).status == 204
        body = {"username": "dora", "password": PASSWORD}
        assert (await here.ask("POST", "/login", body, address=ELSEWHERE)).status == 200
        waiting.cancel()


async def test_a_sign_up_waits_in_line_with_the_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(monkeypatch) as here:
        invitation = await here.invite(await here.log_in("anna", Role.ADMIN))
        is_open = False
        queue, choose = here.accounts._turns._queue, here.accounts._turns._queue.next
        monkeypatch.setattr(queue, "next", lambda now: choose(now) if is_open else None)
        waiting = asyncio.ensure_future(here.sign_up(invitation, "carl"))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not waiting.done()
        assert len(queue) == 1
        is_open = True
        here.accounts._turns._go_on()
        assert (await waiting).status == 204
