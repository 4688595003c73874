"""The viewer in a real Chromium against a real server, with real clicks, down to the label's pixels on disk."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from label_server import BUNDLE, SHAPE, Server, StartServer, make_study
from realm import PASSWORD
from scipy import ndimage
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from bonemets.data import read_planar
from bonemets.engines import BundlePredictor

pytestmark = pytest.mark.slow

# Whether the page objects when its tab is closed; chromedriver itself answers the browser's question.
LEAVING = """const event = new Event("beforeunload", {cancelable: true}); window.dispatchEvent(event);
return event.defaultPrevented"""
EIGHT = np.ones((3, 3), int)
PROGRAMS = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]


class Page:
    """The viewer as somebody sees it who sits before it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def until(self, condition: Callable[[], Any], seconds: float = 60) -> Any:
        # The lists are made anew with every change, maybe between finding a row and reading it.
        wait = WebDriverWait(self.driver, seconds, 0.05, [StaleElementReferenceException])
        return wait.until(lambda _: condition())

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def click(self, selector: str) -> None:
        self.until(lambda: [one for one in self.all(selector) if one.is_displayed() and one.is_enabled()])[0].click()

    def text(self, selector: str) -> str:
        return self.driver.find_element(By.CSS_SELECTOR, selector).text

    def keys(self, *keys: str) -> None:
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def chord(self, key: str) -> None:
        webdriver.ActionChains(self.driver).key_down(Keys.CONTROL).send_keys(key).key_up(Keys.CONTROL).perform()

    def start(self, url: str, name: str | None = "anna") -> None:
        self.driver.get(url)
        self.driver.execute_script("localStorage.clear(); sessionStorage.clear()")
        self.driver.refresh()
        if name:
            self.until(lambda: self.all("dialog[open] input"))[0].send_keys(name + Keys.ENTER)
            self.until(lambda: self.all("#items button"))

    def open(self, item: str) -> None:
        self.click(f'[data-item="{item}"]')
        self.until(lambda: self.text("#title") == item and not self.driver.find_element(By.ID, "busy").is_displayed())

    def states(self) -> list[str]:
        return [row.get_attribute("data-state") for row in self.all("#found li[data-state]")]

    def place(self, view: int, row: float, column: float) -> tuple[int, int]:
        """Where the middle of a pixel of the scan is on the page."""
        # What is drawn is one animation frame behind.
        self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        canvas = self.driver.find_element(By.ID, "picture")
        corner = json.loads(canvas.get_attribute("data-placement"))[view]
        x = canvas.rect["x"] + corner["x"] + (column + 0.5) * corner["width"]
        return round(x), round(canvas.rect["y"] + corner["y"] + (row + 0.5) * corner["height"])

    def drag(self, view: int, places: list[tuple[float, float]], button: int = 0, kind: str = "mouse") -> None:
        builder = ActionBuilder(self.driver, mouse=PointerInput(kind, kind), duration=20)
        builder.pointer_action.move_to_location(*self.place(view, *places[0])).pointer_down(button=button)
        for place in places[1:]:
            builder.pointer_action.move_to_location(*self.place(view, *place))
        builder.pointer_action.pointer_up(button=button)
        builder.perform()

    def answer(self, key: str) -> None:
        self.click(f'dialog[open] button[value="{key}"]')

    def saved(self, selector: str = "#save") -> None:
        self.click(selector)
        self.until(lambda: re.fullmatch(r"version \d+", self.text("#state")))


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    program = next((path for path in PROGRAMS if path), None)
    if program is None or shutil.which("chromedriver") is None:
        pytest.skip("no Chromium with chromedriver on this machine: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    profile = tmp_path_factory.mktemp("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def page(driver: webdriver.Chrome) -> Iterator[Page]:
    size = {"width": 1440, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield Page(driver)
    # Leave nothing that the next test would be asked about.
    driver.execute_script("window.onbeforeunload = null")
    driver.get("about:blank")


@pytest.fixture(scope="module")
def server(
    start_server: StartServer, bundles: Path, driver: webdriver.Chrome, tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """A server with three scans; its narrow network's threshold is where it proposes a few lesions of the first."""
    folder = tmp_path_factory.mktemp("viewer")
    for number in range(1, 4):
        make_study(folder / "studies" / f"p{number}", number)
    predictor = BundlePredictor(bundles / BUNDLE)
    probability = predictor.predict(read_planar(folder / "studies" / "p1" / "scan.dcm")).probability
    wished = np.quantile(probability, np.linspace(0.999, 0.8, 100))
    threshold = next(value for value in wished if 3 <= sum(sizes(probability >= value) > 6) <= 20)
    own = tmp_path_factory.mktemp("viewer_bundles") / BUNDLE
    shutil.copytree(bundles / BUNDLE, own)
    config = own / "configs" / "inference.yaml"
    config.write_text(re.sub(r"(?m)^threshold: 0.5", f"threshold: {threshold:.9f}", config.read_text()))
    return start_server(folder / "studies", folder / "work", BONEMETS_BUNDLES=str(own.parent))


def sizes(mask: np.ndarray) -> np.ndarray:
    """Number of pixels of every lesion, view by view."""
    return np.concatenate([np.bincount(ndimage.label(view, EIGHT)[0].ravel())[1:] for view in np.moveaxis(mask, -1, 0)])


def label_of(server: Server, item: str) -> np.ndarray:
    """The final label on disk; it lies on its image."""
    label = nib.load(server.work / "datastore" / "labels" / "final" / f"{item}.nii.gz")
    image = nib.load(server.work / "datastore" / f"{item}.nii.gz")
    assert label.get_data_dtype() == np.uint8
    assert label.shape == image.shape
    np.testing.assert_array_equal(label.affine, image.affine)
    return np.asarray(label.dataobj)


def log_of(server: Server, item: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (server.work / "history" / "labels.jsonl").read_text().splitlines())
    return [line for line in lines if line["image"] == item]


def proposal(server: Server, item: str) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """What the network proposes, and its lesions in the order of the list: view, and mask (H, W)."""
    scan = read_planar(server.work / "datastore" / f"{item}.nii.gz")
    mask = BundlePredictor(server.work / "bundles" / BUNDLE).predict(scan).mask
    lesions = []
    for view in range(mask.shape[-1]):
        labels, count = ndimage.label(mask[..., view], EIGHT)
        rows = ndimage.center_of_mass(labels > 0, labels, range(1, count + 1))
        order = sorted(range(count), key=lambda index: rows[index][0])
        lesions.extend((view, labels == index + 1) for index in order)
    return mask, lesions


def disk(center: tuple[float, float], size: float) -> np.ndarray:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.hypot(rows - center[0], columns - center[1]) <= size / 2


def test_proposal_corrected_and_saved(page: Page, server: Server) -> None:
    page.start(server.url + "/viewer/")
    assert page.text("#progress-shown") == "0 of 3 labeled"
    page.open("p1_scan")
    assert page.text("#state") == "no label yet"
    mask, lesions = proposal(server, "p1_scan")
    page.click("#propose")
    page.until(lambda: page.states() == ["proposed"] * len(lesions))
    row = page.text("#found li:first-child small")
    probability = re.search(r"(\d+)\s%", row)
    assert row.startswith("ant.")
    assert probability
    assert 0 < int(probability[1]) <= 100

    # Reject one, accept another, then all that are left.
    expected = mask.copy()
    view, rejected = lesions[1]
    expected[..., view][rejected] = 0
    page.all("#found li:nth-child(2) .no")[0].click()
    page.all("#found li:nth-child(1) .yes")[0].click()
    assert page.states()[:2] == ["lesion", "rejected"]
    page.click("#accept-all")
    assert page.states() == ["lesion", "rejected", *["lesion"] * (len(lesions) - 2)]

    # Paint in the posterior view, with a brush of 9 pixels: B, three times ].
    page.keys("b", "]", "]", "]")
    page.drag(1, [(180, 20), (180, 40)])
    for column in np.arange(20, 40.01, 0.05):
        expected[..., 1][disk((180, column), 9)] = 1
    # Mark what cannot be judged in the anterior view, and erase a part of it.
    page.click('[data-tool="ignore"]')
    page.drag(0, [(12, 80), (12, 86)])
    unsure = np.zeros(SHAPE, bool)
    for column in np.arange(80, 86.01, 0.05):
        unsure |= disk((12, column), 9)
    page.keys("e")
    page.drag(0, [(12, 80), (12, 81)])
    for column in np.arange(80, 81.01, 0.05):
        unsure &= ~disk((12, column), 9)
    expected[..., 0][unsure] = 2
    assert "ignored" in page.states()

    # All of it undone, step by step, and done again.
    count = 0
    while page.driver.find_element(By.ID, "undo").is_enabled():
        page.chord("z") if count % 2 else page.click("#undo")
        count += 1
    assert page.states() == []
    assert count == 7
    assert page.text("#state") == "no label yet"
    for number in range(count):
        page.chord("y") if number % 2 else page.click("#redo")
    assert not page.driver.find_element(By.ID, "redo").is_enabled()

    page.saved()
    label = label_of(server, "p1_scan")
    # The pointer stands on whole pixels of the page, up to half a pixel of the scan beside the middle of one.
    edge = np.zeros_like(expected, bool)
    for index in range(2):
        for value in (1, 2):
            drawn = expected[..., index] == value
            edge[..., index] |= ndimage.binary_dilation(drawn, EIGHT) & ~ndimage.binary_erosion(drawn, EIGHT)
    untouched = np.ones_like(edge)
    untouched[170:, :, 1] = untouched[:24, 70:, 0] = False
    np.testing.assert_array_equal(label[untouched], expected[untouched])
    np.testing.assert_array_equal(label[~edge], expected[~edge])
    assert label[180, 30, 1] == 1
    assert label[12, 89, 0] == 2
    assert label[12, 80, 0] == 0
    (line,) = log_of(server, "p1_scan")
    assert (line["version"], line["action"], line["user"], line["base"]) == (1, "saved", "anna", 0)
    assert line["lesion_pixels"] == int((label == 1).sum())
    assert page.text("#progress-shown") == "1 of 3 labeled"
    assert [entry for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_split_jump_and_versions(page: Page, server: Server) -> None:
    page.start(server.url + "/viewer/#p2_scan")
    page.until(lambda: page.text("#title") == "p2_scan")
    # One lesion of 13 x 41 pixels, cut into two.
    page.keys("b", *["]"] * 7)
    page.drag(0, [(100, 30), (100, 58)])
    assert page.states() == ["lesion"]
    page.keys("s")
    page.drag(0, [(88, 44), (112, 46)])
    assert page.states() == ["lesion", "lesion"]
    before = page.place(0, 100, 30)
    page.all("#found li:first-child .row")[0].click()
    assert page.place(0, 100, 30) != before
    page.click("#fit")
    # A click on the picture selects.
    page.keys("v")
    page.drag(0, [(100, 54)])
    assert [row.get_attribute("aria-current") for row in page.all("#found li")].count("true") == 1
    page.keys("r")
    assert page.states() == ["lesion"]
    page.saved()
    first = label_of(server, "p2_scan")
    assert first[100, 34, 0] == 1
    assert not first[100, 46:, 0].any()
    page.chord("z")
    page.until(lambda: page.text("#state") == "not saved")
    page.saved()
    assert sizes(label_of(server, "p2_scan") == 1).size == 2
    assert server.request("GET", "/bonemets/history/label?image=p2_scan&version=3").status_code == 404
    # The first version, back again.
    page.click("#versions")
    page.until(lambda: len(page.all("dialog[open] tbody tr")) == 2)
    page.all("dialog[open] tbody tr:last-child button")[0].click()
    page.until(lambda: page.states() == ["lesion"])
    page.saved()
    np.testing.assert_array_equal(label_of(server, "p2_scan"), first)
    assert [(line["version"], line["base"]) for line in log_of(server, "p2_scan")] == [(1, 0), (2, 1), (3, 2)]


def test_two_annotators(page: Page, server: Server, tmp_path: Path) -> None:
    page.start(server.url + "/viewer/", "ben")
    page.open("p3_scan")
    page.keys("b")
    page.drag(0, [(60, 40), (60, 44)])
    # Meanwhile somebody else saves.
    image = nib.load(server.work / "datastore" / "p3_scan.nii.gz")
    theirs = np.zeros(image.shape, np.uint8)
    theirs[30:34, 50:54, 1] = 1
    nib.save(nib.Nifti1Image(theirs, image.affine), tmp_path / "label.nii.gz")
    files = {"label": ("label.nii.gz", (tmp_path / "label.nii.gz").read_bytes())}
    params = {"params": json.dumps({"client_id": "anna", "base_version": 0})}
    assert server.request("PUT", "/datastore/label?image=p3_scan", files=files, data=params).ok

    page.click("#save")
    page.until(lambda: "Somebody else" in page.text("dialog"))
    assert "saved by anna" in page.text("dialog")
    np.testing.assert_array_equal(label_of(server, "p3_scan"), theirs)
    page.answer("theirs")
    page.until(lambda: page.text("#found li:first-child small").startswith("post."))
    # Theirs is in the picture and mine can be had back; now with theirs known, it may be saved.
    page.click("#undo")
    page.until(lambda: page.text("#found li:first-child small").startswith("ant."))
    page.saved()
    assert label_of(server, "p3_scan")[60, 42, 0] == 1
    assert not label_of(server, "p3_scan")[..., 1].any()
    assert [(line["user"], line["base"]) for line in log_of(server, "p3_scan")] == [("anna", 0), ("ben", 1)]


def test_unsaved_work_is_guarded(page: Page, server: Server) -> None:
    page.start(server.url + "/viewer/")
    page.open("p1_scan")
    assert page.driver.execute_script(LEAVING) is False
    page.keys("b")
    page.drag(0, [(150, 20), (150, 24)])
    page.click('[data-item="p2_scan"]')
    page.answer("")
    assert page.text("#title") == "p1_scan"
    assert page.text("#state") == "not saved"
    assert page.driver.execute_script(LEAVING) is True
    page.click('[data-item="p2_scan"]')
    page.answer("discard")
    page.until(lambda: page.text("#title") == "p2_scan")


def test_window_zoom_and_views(page: Page, server: Server) -> None:
    page.start(server.url + "/viewer/")
    page.open("p1_scan")
    picture = page.driver.find_element(By.ID, "picture")
    window = page.driver.find_element(By.ID, "window").get_attribute("value")
    page.drag(0, [(60, 40), (60, 70)], button=2)
    assert float(page.driver.find_element(By.ID, "window").get_attribute("value")) > float(window)
    page.click("#auto")
    assert page.driver.find_element(By.ID, "window").get_attribute("value") == window
    # What is under the pointer stays there; the other view shows the mirrored place of the body.
    x, y = page.place(0, 60, 70)
    origin = webdriver.common.actions.wheel_input.ScrollOrigin.from_viewport(x, y)
    webdriver.ActionChains(page.driver).scroll_from_origin(origin, 0, -600).perform()
    assert np.allclose(page.place(0, 60, 70), (x, y), atol=2)
    corners = json.loads(picture.get_attribute("data-placement"))
    panes = picture.rect["width"] / 2
    middles = [(panes * (view + 0.5) - corner["x"]) / corner["width"] for view, corner in enumerate(corners)]
    assert middles[0] + middles[1] == pytest.approx(SHAPE[1], abs=0.5)
    assert middles[0] > SHAPE[1] / 2 + 3


def test_tablet(page: Page, server: Server) -> None:
    size = {"width": 768, "height": 1024, "deviceScaleFactor": 2, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.start(server.url + "/viewer/")
    assert page.driver.execute_script("return document.documentElement.scrollWidth") == 768
    assert not page.all('[data-item="p2_scan"]')[0].is_displayed()
    page.click("#menu")
    page.open("p2_scan")
    page.click('[data-tool="lesion"]')
    before = len(page.states())
    page.drag(0, [(20, 20), (20, 24)], kind="touch")
    assert len(page.states()) == before + 1
    # Two fingers zoom, and what the first has drawn before the second came is taken back.
    fingers = [PointerInput("touch", name) for name in ("first", "second")]
    corner = json.loads(page.driver.find_element(By.ID, "picture").get_attribute("data-placement"))[0]
    builder = ActionBuilder(page.driver, mouse=fingers[0], duration=20)
    builder.add_pointer_input("touch", "second")
    fingers = [device for device in builder.devices if isinstance(device, PointerInput)]
    for finger, near, far in zip(fingers, (95, 105), (75, 125), strict=True):
        for step, row in ((finger.create_pointer_move, near), (finger.create_pointer_move, far)):
            x, y = page.place(0, row, 48)
            step(duration=20, x=x, y=y)
            if row == near:
                finger.create_pointer_down(button=0)
        finger.create_pointer_up(0)
    builder.perform()
    assert len(page.states()) == before + 1
    wider = json.loads(page.driver.find_element(By.ID, "picture").get_attribute("data-placement"))[0]
    assert wider["width"] > 1.5 * corner["width"]


def test_next_scan(page: Page, server: Server) -> None:
    """After the tests above every scan has a label; one is taken away."""
    assert server.request("DELETE", "/datastore/label?id=p2_scan&tag=final").ok
    page.start(server.url + "/viewer/")
    assert page.text("#progress-shown") == "2 of 3 labeled"
    page.click('#strategy option[value="mean_entropy"]')
    page.click("#next")
    page.until(lambda: page.text("#title") == "p2_scan")
    assert page.text("#state") == "version 4"
    assert page.states() == []
    page.keys("b")
    page.drag(0, [(100, 30), (100, 34)])
    page.click("#save-next")
    page.until(lambda: "Every scan has a label" in page.text("#toast"))
    assert log_of(server, "p2_scan")[-1]["base"] == 4


def test_signing_in(page: Page, start_server: StartServer, realm: str, tmp_path: Path) -> None:
    make_study(tmp_path / "studies" / "p1", 1)
    settings = {"MONAI_LABEL_AUTH_ENABLE": "true", "MONAI_LABEL_AUTH_REALM_URI": realm}
    server = start_server(tmp_path / "studies", tmp_path / "work", **settings)
    page.start(server.url + "/viewer/", None)
    for password in ("wrong", PASSWORD):
        fields = page.until(lambda: page.all("dialog[open] input"))
        assert not page.all("#items button")
        fields[0].send_keys("carla")
        fields[1].send_keys(password + Keys.ENTER)
        if password == "wrong":
            page.until(lambda: page.all("dialog[open] p.bad"))
    page.until(lambda: page.all("#items button"))
    assert page.text("#user") == "carla"
    page.open("p1_scan")
    page.keys("b")
    page.drag(0, [(60, 40), (60, 44)])
    page.saved()
    assert [line["user"] for line in log_of(server, "p1_scan")] == ["carla"]
