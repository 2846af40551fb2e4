"""The pictures of the live page: the README's animation, and those of docs/figure.md.

They are screenshots of a real run in a real browser, which `make record` takes.
"""

import io
import time

from PIL import Image

from demo import ROOT

DOCS = ROOT / "docs"
# The animation of the README.
SIZE = {"width": 1100, "height": 820}
FRAMES_PER_SECOND = 5
SECONDS = 14
MAX_BYTES = 2_000_000


def wait_for(page, condition):
    # Playwright's own wait evaluates a string in the page, which its security policy forbids.
    end = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"waited 60 s for: {condition}"
        page.wait_for_timeout(100)


def select(page, start, end, frame=lambda: None):
    """Selects a stretch of the chart, from one share of its width to another."""
    box = page.locator("#figure").bounding_box()
    y = box["y"] + 0.45 * box["height"]
    page.mouse.move(box["x"] + start * box["width"], y)
    page.mouse.down()
    for step in range(1, 6):
        page.mouse.move(box["x"] + (start + (end - start) * step / 5) * box["width"], y)
        frame()
    page.mouse.up()
    page.mouse.move(0, 0)
    wait_for(page, "!document.getElementById('panel').hidden")


def explain(page):
    page.locator("#panel .tweets button").first.click()
    page.locator("#panel .explanation").first.wait_for()


def take(page, name):
    # Without the frame around the element that has the keyboard.
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=DOCS / name)


def animation(page):
    """Records a few seconds of the running page: the lines move, a stretch is selected, a tweet explained, and
    the view changes to the mood. Returns the size of the file in bytes."""
    frames, times = [], []

    def frame():
        frames.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        times.append(time.monotonic())

    def play(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            started = time.monotonic()
            frame()
            time.sleep(max(0, 1 / FRAMES_PER_SECOND - (time.monotonic() - started)))

    page.set_viewport_size(SIZE)
    play(0.25 * SECONDS)
    select(page, 0.3, 0.55, frame)
    play(0.2 * SECONDS)
    explain(page)
    play(0.25 * SECONDS)
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    play(0.2 * SECONDS)
    page.keyboard.press("m")
    play(0.1 * SECONDS)
    durations = [round(1000 * (after - before)) for before, after in zip(times, times[1:])] + [1000]
    file = DOCS / "figure.webp"
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=55, method=4)
    size = file.stat().st_size
    assert size < MAX_BYTES, f"{file} has {size} bytes"
    return size


def while_streaming(page):
    """Takes the pictures of one listener, while the stream runs."""
    wait_for(page, "Number(document.getElementById('counted').textContent.replace(',', '')) > 150")
    size = animation(page)
    page.set_viewport_size({"width": 1200, "height": 900})
    take(page, "figure.png")
    select(page, 0.3, 0.6)
    explain(page)
    take(page, "figure-why.png")
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    page.wait_for_timeout(500)
    take(page, "figure-mood.png")
    page.keyboard.press("m")
    return size


def of_two_listeners(page):
    """Takes the picture of two listeners."""
    wait_for(page, "document.querySelectorAll('#legend > div').length === 2")
    page.wait_for_timeout(1500)
    take(page, "figure-listeners.png")
