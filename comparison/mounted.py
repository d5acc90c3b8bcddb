"""Hubbub in another server: `python -m comparison.mounted fast-path --port 8080 --data-dir DIR`.

The hub alone, below the root of uvicorn: by its fast path, or over plain ASGI.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import uvicorn

import hubbub

__all__ = ["main"]

# What carries its WebSockets.
WAYS = {"fast-path": "hubbub.uvicorn:FastPath", "asgi": "websockets-sansio"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m comparison.mounted", description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    options = parser.parse_args()
    app = hubbub.asgi(
        hubbub.Hub(),
        hubbub.Settings(engine="memory://", demo=True, data_dir=options.data_dir),
        # As for the server of its own: without the limits that a load of one account would meet.
        client_rate=0,
        max_otps_per_account=0,
        max_otps=0,
    )
    uvicorn.run(
        app,
        port=options.port,
        ws=WAYS[options.way],
        ws_per_message_deflate=False,
        access_log=False,
        log_level="warning",
        loop="uvloop",
        http="httptools",
        backlog=4096,
    )


if __name__ == "__main__":
    main()
