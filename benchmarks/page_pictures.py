"""Pictures of the web page for `docs/`, with the bundled model: `python -m benchmarks.page_pictures`.

It needs what `make browser` installs.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deixis.data.video_writer import video_writer
from deixis.toyland.motion.clip import RATE
from deixis.toyland.world import Toyland

from .server import ROOT, server

DOCS = ROOT / "docs"
DESKTOP: Any = {"width": 1200, "height": 800}
PHONE: Any = {"width": 360, "height": 780}
SENTENCES = ("the yellow turtle", "the person in green", "the person in yellow")
CLIP, CLIP_SENTENCES = 1, ("the person in green", "the pink dog")
QUALITY = 80


def main() -> None:
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as folder, server() as (port, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--disable-dev-shm-usage"])
        desktop = browser.new_page(viewport=DESKTOP)
        desktop.goto(f"http://127.0.0.1:{port}/")
        while not desktop.request.get(f"http://127.0.0.1:{port}/health/ready").ok:
            time.sleep(0.2)
        desktop.get_by_role("button", name="Example: a drawn scene with people").click()
        desktop.get_by_text("384 × 384").wait_for()
        ask(desktop, SENTENCES)
        desktop.screenshot(path=DOCS / "page.jpg", type="jpeg", quality=QUALITY, full_page=True)

        phone = browser.new_page(viewport=PHONE)
        phone.goto(f"http://127.0.0.1:{port}/")
        phone.get_by_label("Choose a photo or clip").set_input_files(clip(Path(folder)))
        ask(phone, CLIP_SENTENCES)
        phone.get_by_role("slider", name="Time:").press("PageUp")
        phone.screenshot(path=DOCS / "page-phone.jpg", type="jpeg", quality=QUALITY, full_page=True)
        browser.close()


def ask(page: Any, sentences: tuple[str, ...]) -> None:
    for number, sentence in enumerate(sentences):
        page.get_by_label("What to look for").fill(sentence)
        page.get_by_label("What to look for").press("Enter")
        page.locator("#answers li").nth(number).wait_for(timeout=120_000)


def clip(folder: Path) -> Path:
    """A clip of Toyland as a file."""
    file, drawn = folder / "toyland.mp4", Toyland(split="val", num_frames=16).clip(CLIP)
    with video_writer(file) as video:
        for number in range(drawn.num_frames):
            video.add(drawn.frame(number).pixels, number / RATE)
    return file


if __name__ == "__main__":
    main()
