"""The web page in Debian's Chromium, with a model of one line: every feature, its names and roles, and a phone's width.

`make browser` installs what these tests need. Set DEIXIS_PICTURES to a folder to keep the screenshots.
"""

import base64
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image

from deixis import masks
from deixis.server.app import build
from deixis.server.guard import Access
from deixis.server.running import listen
from tests.data.video_writing import write_video
from tests.server.stub import Redness, photo, serve

CHROMIUM = shutil.which("chromium")
MISSING = (
    None
    if CHROMIUM and find_spec("playwright")
    else "There is no Chromium or Playwright; `make browser` installs them."
)
if MISSING and os.environ.get("DEIXIS_BROWSER") == "required":
    raise RuntimeError(MISSING)  # in CI these tests are not skipped
pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")


class Words(Redness):
    """With the evidence of two words, in three pieces; 'absent' is not in the photo."""

    def encode(self, image: np.ndarray) -> Any:
        encoded = super().encode(image)
        stream = encoded.stream

        def with_words(expressions: list[str], **options: Any) -> Iterator[Any]:
            from dataclasses import replace

            for one in stream(expressions, **options):
                grid = np.zeros((5, 2, 2), dtype=bool)
                grid[2, 0, 0] = True
                absent = "absent" in one.expression
                yield replace(
                    one,
                    tokens=("[CLS]", "the", "cup", "##s", "[SEP]"),
                    evidence={"selected": grid},
                    present=not absent,
                    score=0.12 if absent else 0.87,
                    box=None if absent else one.box,
                    mask=one.mask & (not absent),
                )

        encoded.stream = with_words
        return encoded


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    served = serve(model=Words())
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(build(served.service, Access()), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join(5.0)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    page = browser.new_page(accept_downloads=True)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request",
        lambda request: (
            problems.append(request.url) if not request.url.startswith((address, "blob:", "data:")) else None
        ),
    )
    page.goto(address)
    yield page
    page.close()
    assert not problems


def upload(page: Any, level: int = 255, width: int = 120, height: int = 80) -> None:
    content = {"name": "cup.png", "mimeType": "image/png", "buffer": photo(width, height, level=level)}
    page.get_by_label("Choose a photo").set_input_files(content)
    page.get_by_text("cup.png, ").wait_for()


def find(page: Any, sentence: str) -> None:
    count = page.locator("#answers li").count()
    page.get_by_label("What to look for").fill(sentence)
    page.get_by_label("What to look for").press("Enter")
    page.locator("#answers li").nth(count).wait_for()


def keep(page: Any, name: str) -> None:
    if folder := os.environ.get("DEIXIS_PICTURES"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def pixel(page: Any, x: int, y: int) -> list[int]:
    script = "([x, y]) => [...document.getElementById('picture').getContext('2d').getImageData(x, y, 1, 1).data]"
    return page.evaluate(script, [x, y])[:3]


def handle(page: Any) -> Any:
    """A photo as a browser hands it over when it is dropped or pasted."""
    script = """(text) => { const data = new DataTransfer();
        const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
        data.items.add(new File([bytes], 'cup.png', {type: 'image/png'})); return data; }"""
    return page.evaluate_handle(script, base64.b64encode(photo()).decode())


def test_a_photo_is_chosen_dropped_pasted_or_an_example(page: Any) -> None:
    upload(page)
    page.get_by_text("120 × 80").wait_for()
    page.dispatch_event("#drop", "drop", {"dataTransfer": handle(page)})
    page.get_by_text("12 × 8").wait_for()
    upload(page)
    paste = "(data) => document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true}))"
    page.evaluate(paste, handle(page))
    page.get_by_text("12 × 8").wait_for()
    page.get_by_role("button", name="Example: a drawn scene with people").click()
    page.get_by_text("384 × 384").wait_for()
    assert page.get_by_label("What to look for").input_value() == "the person in green"


def test_several_sentences_have_a_number_a_score_and_can_be_hidden_and_removed(page: Any) -> None:
    upload(page)
    find(page, "red")
    assert page.get_by_role("status").inner_text() == "1: “red” found, chance 87 %."
    assert pixel(page, 4, 2) != [255, 0, 0]
    find(page, "also red")
    assert page.get_by_role("heading", level=3).all_inner_texts() == ["1. red", "2. also red"]
    assert page.locator("#picture").get_attribute("aria-label") == "Photo cup.png, marked: red; also red"
    for number, sentence in ((1, "red"), (2, "also red")):
        page.get_by_role("button", name=f"Hide answer {number}, {sentence}").click()
    assert pixel(page, 4, 2) == [255, 0, 0]
    page.get_by_role("button", name="Remove answer 1, red").click()
    assert page.get_by_role("heading", level=3).all_inner_texts() == ["2. also red"]


def test_what_is_not_there_is_said_with_its_chance(page: Any) -> None:
    upload(page)
    find(page, "absent")
    assert page.get_by_role("status").inner_text() == "1: “absent” is not in the photo; the chance that it is: 12 %."


def test_the_threshold_redraws_without_asking_the_model(page: Any, address: str) -> None:
    upload(page, level=102)
    find(page, "red")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    assert "was not found" in page.locator("#answers li").inner_text()
    page.get_by_label("Threshold").fill("0.3")
    assert "found, chance" in page.locator("#answers li").inner_text()
    assert not [url for url in asked if url.startswith(address)]


def test_a_word_is_a_button_that_shows_what_it_chose(page: Any) -> None:
    upload(page)
    find(page, "the cups")
    words = page.get_by_role("group", name="Words of answer 1").get_by_role("button")
    assert words.all_inner_texts() == ["the", "cups"]
    words.nth(1).click()
    assert words.nth(1).get_attribute("aria-pressed") == "true"
    assert pixel(page, 4, 2) == [255, 0, 0]
    assert pixel(page, 100, 70) == [0, 0, 0]
    assert "What the word “cups” chose" in page.locator("#picture").get_attribute("aria-label")


def test_masks_overlay_and_coco_are_saved(page: Any, tmp_path: Path) -> None:
    upload(page)
    find(page, "red")
    for button, name in (
        ("Save mask PNG of answer 1, red", "mask.png"),
        ("Save overlay PNG", "overlay.png"),
        ("Save COCO JSON", "coco.json"),
    ):
        with page.expect_download() as download:
            page.get_by_role("button", name=button).click()
        download.value.save_as(tmp_path / name)
    mask = np.asarray(Image.open(tmp_path / "mask.png").convert("L")) > 0
    assert (mask.shape, mask.sum()) == ((80, 120), 12)
    coco = json.loads((tmp_path / "coco.json").read_text())
    annotation = coco["annotations"][0]
    np.testing.assert_array_equal(masks.decode(annotation["segmentation"]), mask)
    assert (annotation["bbox"], annotation["area"]) == ([2, 1, 4, 3], 12)
    with Image.open(tmp_path / "overlay.png") as overlay:
        assert overlay.size == (120, 80)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Twelve frames in 1.2 s, with a red corner."""
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4").read_bytes()


def upload_clip(page: Any, clip: bytes) -> None:
    content = {"name": "clip.mp4", "mimeType": "video/mp4", "buffer": clip}
    page.get_by_label("Choose a photo or clip").set_input_files(content)
    page.get_by_role("status").get_by_text("clip.mp4 is open").wait_for()


def test_a_clip_has_masks_in_each_frame_a_slider_and_a_button_that_plays(page: Any, clip: bytes) -> None:
    upload_clip(page, clip)
    page.get_by_text("64 × 48").wait_for()  # the browser shows the first frame before anything is asked
    find(page, "red")
    assert page.get_by_role("status").inner_text() == "1: “red” found in 9 of 9 frames, score up to 87 %."
    slider = page.get_by_role("slider", name="Time:")
    assert slider.get_attribute("aria-valuetext") == "0.00 s, 1 of 9; 1 found, 87 %"
    first = pixel(page, 5, 46)
    slider.press("ArrowRight")
    assert page.locator("#frame-text").inner_text().startswith("0.20 s, 2 of 9")
    assert abs(pixel(page, 5, 46)[0] - first[0]) > 100  # the second bit of the frame's number
    find(page, "also red")
    assert not is_red(pixel(page, 20, 6))  # below the second mask's blue
    page.get_by_role("button", name="Hide answer 1, red").click()
    page.get_by_role("button", name="Hide answer 2, also red").click()
    assert is_red(pixel(page, 20, 6))
    page.get_by_role("button", name="Play").press("Space")
    page.get_by_role("button", name="Pause").wait_for()
    page.get_by_role("button", name="Play").wait_for()  # at the end
    assert page.locator("#frame-text").inner_text().endswith("9 of 9")


def is_red(colour: list[int]) -> bool:
    return colour[0] > 180 and max(colour[1:]) < 90


def test_a_clip_that_is_nowhere_or_broken_is_said_in_words(page: Any, clip: bytes) -> None:
    upload_clip(page, clip)
    find(page, "absent")
    chance = "1: “absent” is not in the clip; the highest chance in a frame: 12 %."
    assert page.get_by_role("status").inner_text() == chance
    upload_clip(page, b"no clip")
    assert page.locator("#player").is_hidden()
    page.get_by_label("What to look for").fill("red")
    page.get_by_role("button", name="Find").click()
    page.get_by_text("The clip is not a video").wait_for()


def test_the_frames_of_a_clip_are_saved_as_coco(page: Any, clip: bytes, tmp_path: Path) -> None:
    upload_clip(page, clip)
    find(page, "red")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save COCO JSON").click()
    download.value.save_as(tmp_path / "coco.json")
    coco = json.loads((tmp_path / "coco.json").read_text())
    assert len(coco["images"]) == len(coco["annotations"]) == 9
    assert coco["images"][1] == {"id": 2, "file_name": "clip.mp4", "width": 64, "height": 48, "frame": 2, "time": 0.2}
    assert [annotation["image_id"] for annotation in coco["annotations"]] == list(range(1, 10))
    assert masks.area(coco["annotations"][3]["segmentation"]) == pytest.approx(12 * 32, abs=60)


def test_errors_and_notes_are_words(page: Any) -> None:
    page.get_by_role("button", name="Find").click()
    assert page.get_by_role("alert").inner_text() == "There is no photo yet; choose one first."
    upload(page)
    page.get_by_label("What to look for").fill("break")
    page.get_by_role("button", name="Find").click()
    page.get_by_text("The model is broken.").wait_for()
    find(page, "red")
    assert page.get_by_role("list", name="Notes").inner_text() == "A note."


def test_all_of_it_works_with_the_keyboard(page: Any) -> None:
    upload(page)
    assert page.evaluate("document.activeElement.id") == "sentence"
    page.keyboard.type("red")
    page.keyboard.press("Enter")
    page.locator("#answers li").wait_for()
    for _ in range(12):
        if page.evaluate("document.activeElement.textContent") == "Hide":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Show"


def test_a_phone_needs_no_sideways_scrolling(browser: Any, address: str, clip: bytes) -> None:
    page = browser.new_page(viewport={"width": 320, "height": 640})
    page.goto(address)
    upload(page, width=900, height=300)
    find(page, "red " + "x" * 60)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    upload_clip(page, clip)
    find(page, "red")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    keep(page, "phone")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(browser: Any, address: str, scheme: str, clip: bytes) -> None:
    from axe_playwright_python.sync_playwright import Axe

    # The policy of the page does not allow foreign scripts; axe is one.
    page = browser.new_page(color_scheme=scheme, bypass_csp=True)
    page.goto(address)
    upload(page)
    find(page, "the cups")
    for kind in ("photo", "clip"):
        found = Axe().run(page)
        keep(page, f"{kind}-{scheme}")
        assert found.violations_count == 0, found.generate_report()
        upload_clip(page, clip)
        find(page, "red")
    page.close()
