"""Lesson: a client on the SDK.  It answers every message in `general`, and comes back by itself when the server does.

Start it beside `hubbub serve --demo` with `python bot.py`, or with the URL of another server.
"""

import asyncio
import sys

import hubbub
from hubbub.settings import data_home


async def main(url: str) -> None:
    ca_file = data_home() / "ca.pem" if url.startswith("https:") else None
    async with hubbub.connect(url, "bob", "123", ca_file=ca_file) as chat:
        await chat.join("general")
        async for message in chat:
            if message.sender != chat.user:  # it hears its own messages too
                await chat.send(message.room, f"{message.sender} said: {message.text}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:] or ["https://localhost:8080"]))
