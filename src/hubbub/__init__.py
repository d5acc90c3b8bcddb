"""Hubbub: a real-time messaging server and toolkit.

A name is loaded when it is first used: a program that is a client loads nothing of the server, nor the other way round.
"""

# By this name type checkers take it to be true; the one in `typing` costs that module's import.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from hubbub.acts import Act as Act
    from hubbub.acts import Role as Role
    from hubbub.cli import run as run
    from hubbub.client import Client as Client
    from hubbub.errors import CloseCode as CloseCode
    from hubbub.errors import EngineError as EngineError
    from hubbub.errors import ErrorCode as ErrorCode
    from hubbub.errors import HubbubError as HubbubError
    from hubbub.errors import NotKept as NotKept
    from hubbub.errors import NotKnown as NotKnown
    from hubbub.errors import Refused as Refused
    from hubbub.events import Event as Event
    from hubbub.handle import Room as Room
    from hubbub.hub import Hub as Hub
    from hubbub.messenger import publisher as publisher
    from hubbub.mount.mounted import asgi as asgi
    from hubbub.posting import Posting as Posting
    from hubbub.sdk.client import connect as connect
    from hubbub.sdk.publisher import AsyncPublisher as AsyncPublisher
    from hubbub.sdk.publisher import Publisher as Publisher
    from hubbub.server import serving as serving
    from hubbub.settings import Settings as Settings
    from hubbub.signing_in import Credentials as Credentials
    from hubbub.signing_in import RequestView as RequestView
    from hubbub.signing_in import User as User
else:
    # What is said above, for when the program runs; `tests/unit/test_imports.py` holds them to each other.
    SOURCES = {
        "Act": "hubbub.acts",
        "AsyncPublisher": "hubbub.sdk.publisher",
        "Client": "hubbub.client",
        "CloseCode": "hubbub.errors",
        "Credentials": "hubbub.signing_in",
        "EngineError": "hubbub.errors",
        "ErrorCode": "hubbub.errors",
        "Event": "hubbub.events",
        "Hub": "hubbub.hub",
        "HubbubError": "hubbub.errors",
        "NotKept": "hubbub.errors",
        "NotKnown": "hubbub.errors",
        "Posting": "hubbub.posting",
        "Publisher": "hubbub.sdk.publisher",
        "Refused": "hubbub.errors",
        "RequestView": "hubbub.signing_in",
        "Role": "hubbub.acts",
        "Room": "hubbub.handle",
        "Settings": "hubbub.settings",
        "User": "hubbub.signing_in",
        "asgi": "hubbub.mount.mounted",
        "connect": "hubbub.sdk.client",
        "publisher": "hubbub.messenger",
        "run": "hubbub.cli",
        "serving": "hubbub.server",
    }

    __all__ = list(SOURCES)

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name not in SOURCES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(SOURCES[name]), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
