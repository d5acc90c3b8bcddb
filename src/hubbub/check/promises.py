"""What the protocol page promises, as far as an outsider can see it, in the order of the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from hubbub.check import classic, closing, getting_in, v1_events, v1_requests, v1_rooms
from hubbub.check.target import Target

__all__ = ["PROMISES", "Promise", "Scope"]


class Scope(Enum):
    """Which servers a promise is for."""

    ALL = "all"
    V1 = "v1"  # those that echo `hubbub.v1`


@dataclass(frozen=True)
class Promise:
    """One promise, and the check that holds a server to it.

    Attributes:
        name: for reports.
        says: the promise, in a sentence.
        check: raises `Failed` or `NotOffered`.
        patience_s: what a check that waits on purpose takes, beside the deadline for all; such are run on request.
    """

    group: str
    name: str
    says: str
    scope: Scope
    check: Callable[[Target], Awaitable[None]]
    patience_s: float = 0.0


def group(
    name: str, *rows: tuple[str, str, Scope, Callable[[Target], Awaitable[None]]], patience_s: float = 0.0
) -> list[Promise]:
    return [Promise(name, *row, patience_s=patience_s) for row in rows]


ALL, V1 = Scope.ALL, Scope.V1
enter, requests, events = getting_in, v1_requests, v1_events

GETTING_IN = group(
    "getting in",
    ("login", "POST /login with the right password answers 200 with an otp that opens a connection", ALL, enter.log_in),
    ("login-content-type", "the body is parsed whatever its Content-Type", ALL, enter.any_content_type),
    ("login-token", "the answer carries token and expires_in", V1, enter.token_and_expiry),
    ("login-malformed", "a malformed body or a missing field is answered 400", V1, enter.malformed_login),
    (
        "login-wrong",
        "a wrong name and a wrong password are answered 401, with the same body",
        ALL,
        enter.wrong_password,
    ),
    ("another-otp", "POST /otp with the token answers 200 with another otp", V1, enter.another_ticket),
    ("bad-token", "without a valid token, /otp and /logout answer 401", V1, enter.bad_token),
    ("http-errors", 'errors over HTTP are {"error": {"code", "message"}}', V1, enter.error_shape),
    ("setup", "POST /setup with a wrong secret is answered 403", V1, enter.setup_is_closed),
    ("logout", "POST /logout answers 204; the token and its connections are dead at once", V1, enter.log_out),
)

OPENING = group(
    "opening",
    (
        "otp-long",
        "a one-time password has room for 128 random bits, and is another each time",
        ALL,
        enter.ticket_is_long,
    ),
    ("otp-once", "a one-time password is usable once", ALL, enter.ticket_once),
    ("otp-none", "no one-time password, or an unknown one, is answered 401", ALL, enter.no_ticket),
    ("otp-subprotocol", "the otp may come as the subprotocol otp.<otp>", V1, enter.ticket_in_subprotocol),
    ("origin-foreign", "a foreign Origin is answered 403 and does not burn the otp", ALL, enter.foreign_origin),
    ("origin-own", "the server's own Origin is let in", ALL, enter.own_origin),
    ("origin-none", "a program, which sends no Origin, is let in", ALL, enter.no_origin),
    ("not-an-upgrade", "a request that is no upgrade is answered 426", V1, enter.not_an_upgrade),
    ("on-root", "an upgrade is taken on / too", V1, enter.on_root),
    ("order-of-checks", "the path is checked before the otp, which stays good", V1, enter.order_of_checks),
    ("subprotocol", "hubbub.v1 is echoed to one who offers it", V1, events.echoes_subprotocol),
    ("welcome-first", "the first frame after the 101 is a welcome", V1, events.welcome_first),
    ("welcome", "a welcome has user, session, heartbeat, limits and rooms", V1, events.welcome),
)

CLASSIC = group(
    "classic",
    ("classic-message", "new_message has message, from and sent, and nothing else", ALL, classic.new_message),
    ("classic-from", "from is the authenticated user, whatever the client wrote", ALL, classic.from_is_the_server_s),
    ("classic-echo", "a sender gets its own message back", ALL, classic.own_copy),
    ("classic-no-echo", "with name= in the URL, it does not", ALL, classic.named_hears_no_echo),
    ("classic-general", "a client starts in the room general", ALL, classic.starts_in_general),
    ("classic-rooms", "change_room moves a client; other rooms are quiet", ALL, classic.other_rooms_are_quiet),
    ("classic-nonsense", "what is not an event is borne in silence", ALL, classic.nonsense_is_survived),
    (
        "classic-unknown",
        "other types are borne in silence, those of v1 included",
        ALL,
        classic.unknown_types_are_survived,
    ),
    ("classic-binary", "a binary frame is borne in silence", ALL, classic.binary_is_survived),
    ("both-dialects", "both dialects share rooms", V1, classic.one_message),
    ("classic-only-messages", "a classic client is sent new_message and nothing else, ever", V1, classic.nothing_of_v1),
)

REQUESTS = group(
    "v1 requests",
    ("one-answer", "a request with an id gets one ack or error with that id", V1, requests.answers_carry_the_id),
    ("no-id", "without an id there is no ack, and an error comes without one", V1, requests.no_id_no_ack),
    ("room-left-out", "room may be left out in exactly one room", V1, requests.room_may_be_left_out),
    ("join", "join_room answers room, epoch, seq, recovered, messages and members", V1, requests.join_answer),
    ("join-history", "join_room gives the newest messages, oldest first", V1, requests.join_with_history),
    ("leave", "leave_room ends membership; the user is among the members for 5 s more", V1, requests.leave_room),
    ("change-room", "change_room answers as join_room and leaves every other room", V1, requests.change_room),
    (
        "room-names",
        "rooms have 1 to max_room_name letters, digits and space . _ -; what looks the same is one room",
        V1,
        requests.room_names,
    ),
    ("direct", "dm:a,b is open to those two users alone, and both have an account", V1, requests.direct_rooms),
    ("send", "send_message answers room, seq and sent", V1, requests.send_answer),
    (
        "history",
        "history gives pages: the newest, before and after a seq, and whether there is more",
        V1,
        requests.history_pages,
    ),
    ("history-limit", "history takes a limit of 1 to 200", V1, requests.history_limits),
    ("presence", "presence answers the users in the room, sorted", V1, requests.presence),
    ("typing", "typing answers {}", V1, requests.typing_answer),
    ("mark-read", "mark_read answers the furthest that the user has read", V1, requests.mark_read),
    ("members-only", "history, presence, typing and mark_read are for members", V1, requests.members_only),
    ("bad-json", "what is no JSON is answered bad_json, and the connection stays up", V1, requests.bad_json),
    ("bad-envelope", "what is no event is answered bad_envelope, with its id", V1, requests.bad_envelope),
    ("bad-payload", "a wrong field is answered bad_payload, and named", V1, requests.bad_payload),
    ("unknown-type", "a type that nobody handles is answered unknown_type", V1, requests.unknown_type),
    ("not-in-room", "what needs membership is answered not_in_room", V1, requests.not_in_room),
    ("message-size", "a message has 1 to max_message characters; more are too_large", V1, requests.message_size),
    ("key-size", "a key has 128 characters at most", V1, requests.key_size),
)

EVENTS = group(
    "v1 events",
    (
        "new-message",
        "new_message has room, seq, from, message, and sent in UTC with milliseconds",
        V1,
        events.message_event,
    ),
    ("member-joined", "member_joined tells of a user's first connection", V1, events.member_joined),
    ("typing-event", "typing tells the others", V1, events.typing_event),
    ("read-event", "read tells how far a user has read", V1, events.read_event),
)

ROOMS = group(
    "rooms of users",
    (
        "follow",
        "follow answers the room's entry; the user's other connections and the next welcome have it until unfollow",
        V1,
        v1_rooms.follow,
    ),
    ("unread", "a welcome tells how many messages of others are unread in a followed room", V1, v1_rooms.unread),
    ("not-followed", "a room that is not followed, or may not be entered, is refused", V1, v1_rooms.not_followed),
    ("direct-arrives", "a message in dm:a,b makes both follow it, wherever they are", V1, v1_rooms.direct_arrives),
    ("list-rooms", "list_rooms has the rooms in which something was said, by prefix", V1, v1_rooms.list_rooms),
    ("list-users", "list_users has the accounts, by prefix", V1, v1_rooms.list_users),
)

KEPT = group(
    "promises",
    ("order", "every member sees the same messages in the same order; seq rises by exactly one", V1, events.same_order),
    ("once", "a message repeated with its key gets the first one's seq and adds nothing", V1, events.key_once),
    ("resume", "join_room with since answers with every later message, then live ones follow", V1, events.resume),
    ("other-epoch", "with another epoch, recovered is false and messages is the newest page", V1, events.other_epoch),
    ("ack-first", "the sender's ack precedes its own copy", V1, events.ack_first),
    ("no-lies", "from, user and members come from the server's own state", V1, events.lies_about_who),
)

CLOSING = group(
    "closing",
    ("close", "a close is answered with its code", ALL, closing.close_is_answered),
    ("ping", "a ping is answered", ALL, closing.ping_is_answered),
    ("fragments", "a message may come in fragments, with a ping between them", ALL, closing.fragments),
    ("close-rsv", "a reserved bit closes with 1002", ALL, closing.reserved_bits),
    ("close-unmasked", "an unmasked frame closes with 1002", ALL, closing.unmasked),
    ("close-opcode", "a reserved opcode closes with 1002", ALL, closing.reserved_opcode),
    (
        "close-control",
        "a control frame in fragments, or of over 125 bytes, closes with 1002",
        ALL,
        closing.broken_control_frame,
    ),
    ("close-binary", "a binary frame in v1 closes with 1003", V1, closing.binary_in_v1),
    ("close-utf8", "text that is not UTF-8 closes with 1007", ALL, closing.bad_utf8),
    ("close-large", "a frame over the limit closes with 1009", ALL, closing.too_large),
)

SLOW = group(
    "with patience",
    ("otp-expires", "a one-time password is dead after 5 s", ALL, enter.ticket_expires),
    ("member-left", "member_left tells of one who has not come back within 5 s", V1, events.member_left),
    ("typing-ends", "typing ends by itself after 6 s", V1, events.typing_ends),
    (
        "rate-limited",
        "over client_burst, requests are answered rate_limited with retry_after",
        V1,
        requests.rate_limited,
    ),
    ("heartbeat", "the server pings in its interval", V1, closing.sends_pings),
    ("no-heartbeat", "one who is silent past a ping is closed with 4000", V1, closing.silence_is_closed),
    patience_s=40.0,
)

PROMISES = (*GETTING_IN, *OPENING, *CLASSIC, *REQUESTS, *EVENTS, *ROOMS, *KEPT, *CLOSING, *SLOW)
