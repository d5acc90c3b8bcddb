"""Make the pictures of the README and the docs: `python tests/browser/pictures.py`."""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple

# Run as a script, only this file's own folder is searched.
sys.path.append(str(Path(__file__).parent.parent))

from people import Person
from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright
from seed import FRIENDS, LAST, NOW, PASSWORD, READER, seed

from chromium import CHROMIUM, CHROMIUM_ARGS
from servers import ServerProcess, running

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
WIDE, NARROW = (1200, 750), (360, 720)
COLORS = 256
START_MS = 60_000


class Picture(NamedTuple):
    """One picture of the chat: how large, and in which colours."""

    name: str
    size: tuple[int, int]
    scheme: Literal["light", "dark"]


PICTURES = (
    Picture("wide-light", WIDE, "light"),
    Picture("wide-dark", WIDE, "dark"),
    Picture("narrow-light", NARROW, "light"),
    Picture("narrow-dark", NARROW, "dark"),
)


def take_all() -> None:
    """Take all of them, of one seeded server."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(seed(folder / "team.db"))
        take_each(folder)


def take_each(folder: Path) -> None:
    """Take each, of a server on the database in a folder."""
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        engine = ("--engine", f"sqlite:///{folder / 'team.db'}")
        with running(folder, *engine, tls=True, demo=False) as server:
            for friend in FRIENDS:  # they are here, in the list of people
                page = browser.new_context(ignore_https_errors=True).new_page()
                Person(page, server.origin).log_in(friend, PASSWORD)
                expect(page.get_by_text(LAST)).to_be_attached(timeout=START_MS)
            for picture in PICTURES:
                take(picture, browser, server)
        browser.close()


def take(picture: Picture, browser: Browser, server: ServerProcess) -> None:
    """Take one, as its reader sees it after signing in."""
    width, height = picture.size
    context = browser.new_context(
        ignore_https_errors=True,
        viewport={"width": width, "height": height},
        color_scheme=picture.scheme,
        locale="en-GB",
        timezone_id="Europe/London",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.clock.set_fixed_time(NOW)
    Person(page, server.origin).log_in(READER, PASSWORD)
    expect(page.get_by_text(LAST)).to_be_in_viewport(timeout=START_MS)
    page.mouse.move(0, 0)  # what is under it would show what can be done with it
    save(page.screenshot(), FOLDER / f"{picture.name}.png")
    context.close()


def save(png: bytes, path: Path) -> None:
    """Save a picture with as many colours as a flat page needs: a third of the bytes."""
    drawn = Image.open(io.BytesIO(png)).convert("RGB")
    drawn.quantize(COLORS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    take_all()
