"""Lesson: events of your own.  A vote comes in; the new tally goes to everyone in the poll's room, and is kept.

Start it with `python votes.py --demo`, or with `hubbub serve votes:hub --demo` from this folder.
"""

from collections import Counter

import hubbub
from hubbub import Event, Hub, Refused

hub = Hub()
counts: dict[str, Counter[int]] = {}


class Vote(Event, tag="vote"):
    poll: str
    option: int


class Tally(Event, tag="tally"):
    poll: str
    counts: dict[int, int]


@hub.on
def count(vote: Vote) -> Tally:
    if vote.option not in (1, 2):
        raise Refused("bad_payload", "option is 1 or 2")
    of_poll = counts.setdefault(vote.poll, Counter())
    of_poll[vote.option] += 1
    tally = Tally(vote.poll, dict(of_poll))
    hub.room(vote.poll).post(tally)  # kept: in order, in the log, resumable
    return tally  # the payload of the ack, sent once the post is kept


if __name__ == "__main__":
    hubbub.run(hub)
