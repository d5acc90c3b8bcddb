"""Draw the icons of the installed page from its mark: `python tests/browser/icons.py`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

# Run as a script, only this file's own folder is searched.
sys.path.append(str(Path(__file__).parent.parent))

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from chromium import CHROMIUM, CHROMIUM_ARGS

WEB = Path(__file__).parents[2] / "src" / "hubbub" / "web"
BACKGROUND = "#0b6b5d"
# What a system may cut off a maskable icon leaves a circle of four fifths (W3C App Manifest, "icon masks").
SAFE = 0.8
COLORS = 32


def draw() -> None:
    """Draw all of them."""
    mark = (WEB / "icon.svg").read_text()
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        page = browser.new_page()
        for size in (192, 512):
            save(page, mark, size, size, f"icon-{size}.png")
        save(page, mark, 512, round(512 * SAFE), "icon-maskable-512.png", BACKGROUND)
        browser.close()


def save(page: Page, mark: str, size: int, width: int, name: str, background: str = "transparent") -> None:
    """Draw one, with few colours: a flat mark needs no more, and is a few KiB so."""
    page.set_viewport_size({"width": size, "height": size})
    page.set_content(
        f"<style>body {{ margin: 0; height: {size}px; display: grid; place-items: center; background: {background} }}"
        f"svg {{ width: {width}px; height: {width}px; display: block }}</style>{mark}"
    )
    drawn = Image.open(io.BytesIO(page.screenshot(omit_background=True)))
    drawn.quantize(COLORS, method=Image.Quantize.FASTOCTREE).save(WEB / name, optimize=True)


if __name__ == "__main__":
    draw()
