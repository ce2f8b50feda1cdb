"""The interactive pages in Chromium: what is drawn, and the effects of mouse and keyboard."""

import io
import json
import re
import shutil

import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from gd_torch import curve, descend
from gd_torch.plots import save, write
from gd_torch.tutorial import drawings
from gd_torch.tutorial.figure_files import write_gallery
from gd_torch.tutorial.pages import PAGES

pytestmark = pytest.mark.browser

FLAGS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SCENES = ["08_surface", "09_paths"]
CAMERA = "JSON.stringify(picture.layout.scene.camera.eye)"
VISIBLE = "picture.data.map((trace) => trace.visible ?? true)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Every page, and a gallery of them."""
    folder = tmp_path_factory.mktemp("pages")
    for name, build in PAGES.items():
        write(folder / "interactive" / f"{name}.html", build().encode())
    save(drawings.surface(), folder / "08_surface.png")
    save(drawings.tangent(), folder / "02_tangent.svg")
    write_gallery(folder, [])
    return folder


@pytest.fixture(scope="module")
def browser():
    """The installed Chromium; without one the tests fail, they are not skipped."""
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or "/usr/bin/chromium"
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, folder):
    """Open a page; at the end check that it had no errors and loaded only its own files."""
    errors, requests, pages = [], [], []

    def open_page(name, **options):
        page = browser.new_page(viewport={"width": 1100, "height": 820}, **options)
        pages.append(page)
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((folder / name).as_uri())
        if name != "index.html":
            page.wait_for_function("picture.data && picture.data.length > 0")
            page.wait_for_timeout(600)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert errors == []
    assert requests and all(url.startswith(("file://", "data:", "blob:")) for url in requests)


def scene(name):
    """A page's address inside the folder."""
    return f"interactive/{name}.html"


def pixels(page):
    """The plot as it is shown."""
    page.wait_for_timeout(400)
    return Image.open(io.BytesIO(page.locator("#picture canvas").first.screenshot())).convert("RGB")


def near(image, color):
    """The number of pixels close to a colour."""
    target = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    data = image.get_flattened_data() if hasattr(image, "get_flattened_data") else image.getdata()
    return sum(all(abs(a - b) < 30 for a, b in zip(p, target, strict=True)) for p in data)


@pytest.mark.parametrize("name", [*map(scene, PAGES), "index.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_self_contained_and_follows_the_colour_scheme(visit, folder, name, scheme):
    """A page has a language, a title and text alternatives, and a dark background on request."""
    page = visit(name, color_scheme=scheme)
    assert page.locator("html").get_attribute("lang") == "en" and len(page.title()) > 10
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(map(int, re.findall(r"\d+", ground)[:3])) / 3
    assert lightness > 200 if scheme == "light" else lightness < 60
    if name == "index.html":
        images = page.locator("img")
        assert images.count() == 2
        assert all(len(image.get_attribute("alt")) > 20 for image in images.all())
        assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    else:
        assert len(page.locator("#picture").get_attribute("aria-label")) > 40
        assert page.locator("table tr").count() > 2
        source = (folder / name).read_text()
        assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=.https?:", source)
        ink = page.evaluate("picture.layout.font.color")
        assert ink == ("#222222" if scheme == "light" else "#ececec")


@pytest.mark.parametrize("name", SCENES)
def test_scene_is_not_blank(visit, name):
    """The surface and a path are drawn, in many colours."""
    image = pixels(visit(scene(name)))
    assert len(image.getcolors(1 << 24)) > 500
    assert near(image, "#C8D6E3") > 5000 and near(image, "#009E73") > 50


@pytest.mark.parametrize("place", range(4))
def test_legend_hides_exactly_one_path_and_restores_it(visit, place):
    """A click on a legend entry hides only that path; the next click shows it again."""
    page = visit(scene("09_paths"))
    page.get_by_role("button", name="both weights" if place == 0 else "descent").click()
    page.get_by_role("button", name="both weights" if place == 0 else "descent").click()
    switched = page.evaluate(f"{VISIBLE}.length") - 4 + place
    color = page.evaluate(f"picture.data[{switched}].line.color")
    before, entry = near(pixels(page), color), page.locator(".legendtoggle").nth(place)
    entry.click()
    page.wait_for_function(f"picture.data[{switched}].visible === 'legendonly'")
    page.wait_for_timeout(500)  # longer than a double click
    shown = page.evaluate(VISIBLE)
    assert shown[switched] == "legendonly" and shown.count(True) == len(shown) - 1
    assert near(pixels(page), color) < 0.6 * before
    button = page.locator(f"button[data-trace='{switched}']")
    assert button.get_attribute("aria-pressed") == "false"
    entry.click()
    page.wait_for_function(f"picture.data[{switched}].visible === true")
    assert page.evaluate(VISIBLE) == [True] * len(shown)
    assert near(pixels(page), color) == pytest.approx(before, rel=0.05)
    assert button.get_attribute("aria-pressed") == "true"


def test_paths_are_switched_by_keyboard(visit):
    """Every path has a button that Tab reaches, the space bar presses, and aria-pressed states."""
    page = visit(scene("09_paths"))
    assert page.locator("button[data-trace]").count() == 4
    for _ in range(3):
        page.keyboard.press("Tab")
    focused = "document.activeElement"
    assert page.evaluate(f"{focused}.textContent").startswith("w₁ only")
    page.keyboard.press("Space")
    page.wait_for_timeout(400)
    assert page.evaluate(f"{focused}.getAttribute('aria-pressed')") == "false"
    hidden = int(page.evaluate(f"{focused}.dataset.trace"))
    assert [i for i, on in enumerate(page.evaluate(VISIBLE)) if on is not True] == [hidden]
    page.keyboard.press("Enter")
    page.wait_for_timeout(400)
    assert set(page.evaluate(VISIBLE)) == {True}


@pytest.mark.parametrize("name", SCENES)
def test_dragging_rotates(visit, name):
    """Dragging rotates the camera."""
    page = visit(scene(name))
    before = page.evaluate(CAMERA)
    box = page.locator("#picture").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 150, y + 20, steps=6)
    page.mouse.up()
    page.wait_for_timeout(400)
    assert page.evaluate(CAMERA) != before


@pytest.mark.parametrize("name", SCENES)
def test_arrow_keys_rotate_and_zero_resets(visit, name):
    """Arrow keys rotate the camera at constant distance, + zooms in, 0 resets the view."""
    page = visit(scene(name))
    home = json.loads(page.evaluate(CAMERA))

    def after(key):
        page.keyboard.press(key)
        page.wait_for_timeout(200)
        return json.loads(page.evaluate(CAMERA))

    def distance(eye):
        return sum(value**2 for value in eye.values()) ** 0.5

    picture = pixels(page)
    turned = after("ArrowLeft")
    assert turned["z"] == pytest.approx(home["z"]) and turned["x"] != pytest.approx(home["x"])
    raised = after("ArrowUp")
    assert raised["z"] > turned["z"] and distance(raised) == pytest.approx(distance(home))
    assert pixels(page).tobytes() != picture.tobytes()
    assert distance(after("+")) == pytest.approx(0.9 * distance(home))
    assert after("0") == pytest.approx(home)


def test_paths_on_the_page_are_the_runs(visit):
    """The joint step ends at (-4.8, 5.6, 77.44); tangents have the slopes -32 and 14."""
    page = visit(scene("09_paths"))
    (both,) = page.evaluate("picture.data.filter((t) => (t.name ?? '').startsWith('both'))")
    assert [both[axis][-1] for axis in "xyz"] == pytest.approx([-4.8, 5.6, 77.44])
    page = visit(scene("08_surface"))
    first, second = page.evaluate("picture.data.filter((t) => (t.name ?? '').startsWith('slope'))")
    assert (first["z"][-1] - first["z"][0]) / (first["x"][-1] - first["x"][0]) == pytest.approx(-32)
    assert (second["z"][-1] - second["z"][0]) / (second["y"][-1] - second["y"][0]) == pytest.approx(
        14
    )


def drawn(page):
    """The weights of the path that is drawn on page 05."""
    page.wait_for_timeout(300)
    return page.evaluate("picture.data.find((trace) => trace.name === 'descent').x")


def test_step_slider_changes_the_drawn_path(visit):
    """The slider draws the path up to its step, and the status line states that point."""
    page = visit(scene("05_descent"))
    assert drawn(page) == [1.9]
    page.locator("#step").fill("6")
    run = descend(curve, 1.9, learning_rate=0.01, steps=6)
    assert drawn(page) == pytest.approx(run.path[0].tolist())
    assert page.locator("#status").inner_text().startswith("Step 6: w = 1.273108")
    page.locator("#step").focus()
    page.keyboard.press("ArrowRight")
    assert len(drawn(page)) == 8
    path = page.locator("#picture .scatterlayer .trace path.js-line")
    outline = path.nth(2).get_attribute("d")
    page.keyboard.press("End")
    assert len(drawn(page)) == 201 and path.nth(2).get_attribute("d") != outline


def test_rate_slider_goes_from_slow_to_diverging(visit):
    """There are 40 learning rates from 0.001 to 1; the largest diverges, and the page states it."""
    page = visit(scene("05_descent"))
    page.locator("#step").fill("3")
    ends = []
    for place in ("0", "39"):
        page.locator("#rate").fill(place)
        rate = float(page.locator("#rate-value").inner_text())
        run = descend(curve, 1.9, learning_rate=rate, steps=3)
        shown = drawn(page)
        assert shown == pytest.approx(run.path[0].tolist()[: 4 if place == "0" else 2])
        ends.append(page.locator("#status").inner_text())
    assert page.locator("#rate").get_attribute("max") == "39"
    assert "converges after 6915 steps" in ends[0]
    assert "outside the picture" in ends[1] and "diverges after" in ends[1]


def test_play_and_pause(visit):
    """Play makes steps until it is pressed again, by keyboard."""
    page = visit(scene("05_descent"))
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.wait_for_timeout(1000)
    assert page.locator("#play").inner_text() == "Pause"
    page.keyboard.press("Space")
    walked = len(drawn(page))
    assert walked > 2 and len(drawn(page)) == walked
    assert page.locator("#play").get_attribute("aria-pressed") == "false"
