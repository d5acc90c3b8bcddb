"""The events that the built-in handlers take, for an application that handles one of them itself.

>>> @hub.on
... def say(request: builtin.SendMessage, client: Client) -> Posting:
...     text = builtin.NewMessage(request.message.strip())
...     return hub.room_of(client, request.room).post(text, sender=client, key=request.key)
"""

from __future__ import annotations

from hubbub.admin_events import (
    Block,
    CloseRoom,
    DeleteRoom,
    Disconnect,
    GiveRole,
    Invite,
    ReopenRoom,
    Revoke,
    Unblock,
    Uninvite,
)
from hubbub.changing import DeleteMessage, EditMessage, React
from hubbub.chat import (
    ChangeRoom,
    History,
    JoinRoom,
    LeaveRoom,
    MarkRead,
    NewMessage,
    SendMessage,
    SetTyping,
    Since,
    WhoIsThere,
)
from hubbub.following_events import Follow, ListRooms, ListUsers, Mute, Unfollow
from hubbub.oversight import ShowAudit, ShowRooms, ShowSessions, ShowStats, ShowUsers
from hubbub.people_events import GetProfile, GetProfiles, SetProfile
from hubbub.search import Search

__all__ = [
    "Block",
    "ChangeRoom",
    "CloseRoom",
    "DeleteMessage",
    "DeleteRoom",
    "Disconnect",
    "EditMessage",
    "Follow",
    "GetProfile",
    "GetProfiles",
    "GiveRole",
    "History",
    "Invite",
    "JoinRoom",
    "LeaveRoom",
    "ListRooms",
    "ListUsers",
    "MarkRead",
    "Mute",
    "NewMessage",
    "React",
    "ReopenRoom",
    "Revoke",
    "Search",
    "SendMessage",
    "SetProfile",
    "SetTyping",
    "ShowAudit",
    "ShowRooms",
    "ShowSessions",
    "ShowStats",
    "ShowUsers",
    "Since",
    "Unblock",
    "Unfollow",
    "Uninvite",
    "WhoIsThere",
]
