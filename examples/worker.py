"""Lesson: speaking from a process that serves nobody, such as a Celery worker or a cron job.

Make a key with `hubbub key add kitchen --rooms kitchen`, and start it with the URL that the hub is at:
`KEY=... python worker.py http://127.0.0.1:8000/chat`.  Each line of its input is a dish to cook.
"""

import os
import sys

from hubbub import Event, Publisher


class Cooked(Event, tag="cooked"):
    dish: str


def cook(publisher: Publisher, dish: str) -> int:
    """The task, as it would stand below Celery's `@app.task`; the number that the room has given it."""
    return publisher.publish("kitchen", Cooked(dish)).seq


def main(url: str) -> None:
    with Publisher(url, os.environ["KEY"]) as publisher:
        for line in sys.stdin:
            print(f"{line.strip()} is ready, and {cook(publisher, line.strip())} in the kitchen's log", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
