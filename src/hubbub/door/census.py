"""What all nodes together have: each is asked, and answers by a notice."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import count

import msgspec

from hubbub.events import encode
from hubbub.notices import Notices
from hubbub.tasks import Tasks

__all__ = ["ANSWER_S", "MAX_COUNTED", "CensusReply", "NodeCensus", "NodeReport", "TooMany", "count_channels"]

ASKED, ANSWERED, BEGUN = "census_asked", "census_answered", "census_begun"

# How long is waited for the other nodes; those that were there the last time are enough.
ANSWER_S = 1.0

# Channels in an answer.
MAX_COUNTED = 10_000
# Channels that are looked at in one turn of the loop.
AT_ONCE = 32

# Questions of other nodes that are answered at a time; more are left unanswered.
MAX_ANSWERING = 16


class NodeReport(msgspec.Struct, kw_only=True):
    """How a process does, as the server API's `info` has it."""

    uid: str
    name: str
    version: str
    num_clients: int
    num_users: int
    num_subs: int
    num_channels: int
    uptime: int


class CensusReply(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What one node has.

    Attributes:
        report: how it does; None where channels were asked for.
        channels: how many of its connections are in each.
        is_cut: there are more.
    """

    report: NodeReport | None = None
    channels: dict[str, int] = {}
    is_cut: bool = False


class NodeQuestion(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What all nodes are asked: by which node, and under which number; for channels by a pattern, or how they do."""

    node: str
    number: int
    pattern: str | None = None


class NodeAnswer(msgspec.Struct, kw_only=True):
    """What a node answers another one."""

    to: str
    number: int
    node: str
    reply: CensusReply


class TooMany(Exception):
    """More channels fit a pattern than an answer has."""

    def __str__(self) -> str:
        return f"more than {MAX_COUNTED} channels fit this pattern; ask for fewer"


decode_question = msgspec.json.Decoder(NodeQuestion).decode
decode_answer = msgspec.json.Decoder(NodeAnswer).decode
decode_node = msgspec.json.Decoder(str).decode

# What this process answers: to a pattern, or for its report.
Look = Callable[[str | None], Awaitable[CensusReply]]


class NodeCensus:
    """Asks all nodes.

    Args:
        node: names this process.
        look: what this process has; it raises `ValueError` for what is no pattern.
        is_shared: whether there may be other nodes.
    """

    def __init__(self, node: str, notices: Notices, look: Look, *, is_shared: bool) -> None:
        self._node = node
        self._notices = notices
        self._look = look
        self._is_shared = is_shared
        self._numbers = count(1)
        self._tasks = Tasks()
        self._open: dict[int, Poll] = {}
        # Those that have answered the last time; None before the first.
        self._known: set[str] | None = None
        notices.on(ASKED, self._hear_question)
        notices.on(ANSWERED, self._hear_answer)
        notices.on(BEGUN, self._hear_begun)

    def begin(self) -> None:
        """Tell the others that this node is there; to be called once notices are heard."""
        if self._is_shared:
            self._notices.tell(BEGUN, encode(self._node))

    async def reports(self) -> list[NodeReport]:
        """How each node does, this one first."""
        return [reply.report for reply in await self._ask(None) if reply.report is not None]

    async def channels(self, pattern: str) -> dict[str, int]:
        """How many connections are in each channel of some names, on all nodes.

        Raises:
            ValueError: it is no pattern.
            TooMany: there are more than an answer has.
        """
        counts: Counter[str] = Counter()
        for reply in await self._ask(pattern):
            if reply.is_cut:
                raise TooMany
            counts.update(reply.channels)
        if len(counts) > MAX_COUNTED:
            raise TooMany
        return counts

    async def _ask(self, pattern: str | None) -> Sequence[CensusReply]:
        if not self._is_shared:
            return [await self._look(pattern)]
        number = next(self._numbers)
        expected, self._known = self._known, set()  # one that begins meanwhile is added
        poll = self._open[number] = Poll(expected)
        self._notices.tell(ASKED, encode(NodeQuestion(node=self._node, number=number, pattern=pattern)))
        try:
            own = await self._look(pattern)
            await poll.wait(ANSWER_S)
        finally:
            del self._open[number]
            self._known |= poll.replies.keys()
        return [own, *poll.replies.values()]

    def _hear_question(self, payload: bytes) -> None:
        try:
            question = decode_question(payload)
        except msgspec.DecodeError:
            return  # of a node of another version
        if question.node != self._node and len(self._tasks) < MAX_ANSWERING:
            self._tasks.start(self._answer(question))

    def _hear_begun(self, payload: bytes) -> None:
        with contextlib.suppress(msgspec.DecodeError):
            node = decode_node(payload)
            if self._known is not None and node != self._node:
                self._known.add(node)

    async def _answer(self, question: NodeQuestion) -> None:
        try:
            reply = await self._look(question.pattern)
        except ValueError:
            return  # whoever asks finds out itself that it is no pattern
        answer = NodeAnswer(to=question.node, number=question.number, node=self._node, reply=reply)
        self._notices.tell(ANSWERED, encode(answer))

    def _hear_answer(self, payload: bytes) -> None:
        try:
            answer = decode_answer(payload)
        except msgspec.DecodeError:
            return
        if answer.to == self._node and (poll := self._open.get(answer.number)) is not None:
            poll.take(answer.node, answer.reply)


class Poll:
    """The answers to one question.

    Args:
        expected: the nodes that are enough; None where it is not known who there is.
    """

    def __init__(self, expected: set[str] | None) -> None:
        self.replies: dict[str, CensusReply] = {}
        self._expected = expected
        self._is_enough = asyncio.Event()
        if expected is not None and not expected:
            self._is_enough.set()

    def take(self, node: str, reply: CensusReply) -> None:
        """Take what a node answers."""
        self.replies[node] = reply
        if self._expected is not None and self._expected <= self.replies.keys():
            self._is_enough.set()

    async def wait(self, most_s: float) -> None:
        """Wait until there are enough, or for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._is_enough.wait()


async def count_channels(channels: Iterable[tuple[str, int]], fits: Callable[[str], bool]) -> CensusReply:
    """Those of some channels that have connections and whose names fit, some in each turn of the loop."""
    found: dict[str, int] = {}
    for number, (name, clients) in enumerate(channels):
        if not number % AT_ONCE:
            await asyncio.sleep(0)
        if clients and fits(name):
            if len(found) == MAX_COUNTED:
                return CensusReply(channels=found, is_cut=True)
            found[name] = clients
    return CensusReply(channels=found)
