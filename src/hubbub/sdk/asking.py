"""Making a request and waiting for its answer: from the callbacks of `conversation.py` to `await`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hubbub.errors import HubbubError
from hubbub.sdk.conversation import Conversation
from hubbub.sdk.outbox import Kind, Reply

__all__ = ["ask"]


def ignore() -> None:
    pass


async def ask(
    conversation: Conversation, type_: str, payload: dict[str, Any], kind: Kind, over: Callable[[], None] = ignore
) -> dict[str, Any]:
    """Make a request and wait for its answer's payload.

    Args:
        over: called once nothing more is to come of the request, which may be after whoever made it has given up.

    Raises:
        HubbubError: what came of it instead.
    """
    answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def settle(answer: Reply) -> None:
        over()
        if answered.done():
            return
        if isinstance(answer, HubbubError):
            answered.set_exception(answer)
        else:
            answered.set_result(answer)

    entry = conversation.ask(type_, payload, kind, settle)
    try:
        return await answered
    except BaseException:
        if conversation.give_up(entry):
            over()
        raise
