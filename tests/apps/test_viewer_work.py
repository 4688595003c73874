"""The viewer around the picture: unsaved work, window and zoom, tablets, the next scan, signing in, training."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from label_server import BUNDLE, SHAPE, Server, StartServer, make_study
from realm import PASSWORD
from selenium import webdriver
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from viewer_page import Page, log_of, proposal

from bonemets.data import read_planar
from bonemets.labeling.store.masks import mask_bytes

pytestmark = pytest.mark.slow

# Whether the page objects when its tab is closed; chromedriver itself answers the browser's question.
LEAVING = """const event = new Event("beforeunload", {cancelable: true}); window.dispatchEvent(event);
return event.defaultPrevented"""
WITHOUT_CANVAS = "HTMLCanvasElement.prototype.getContext = () => null"


def test_unsaved_work_is_guarded(page: Page, viewer_server: Server) -> None:
    server = viewer_server
    page.start(server.url + "/viewer/")
    page.open("p4_scan")
    assert page.driver.execute_script(LEAVING) is False
    page.keys("b")
    page.drag(0, [(150, 20), (150, 24)])
    page.click('[data-item="p3_scan"]')
    page.answer("")
    assert page.text("#title") == "p4_scan"
    assert page.text("#state") == "not saved"
    assert page.driver.execute_script(LEAVING) is True
    page.click('[data-item="p3_scan"]')
    page.answer("discard")
    page.until(lambda: page.text("#title") == "p3_scan")


def test_window_zoom_and_views(page: Page, viewer_server: Server) -> None:
    server = viewer_server
    page.start(server.url + "/viewer/")
    page.open("p4_scan")
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


def test_tablet(page: Page, viewer_server: Server) -> None:
    page.resize(768, 1024, 2, mobile=True)
    page.start(viewer_server.url + "/viewer/")
    assert page.driver.execute_script("return document.documentElement.scrollWidth") == 768
    assert not page.all('[data-item="p3_scan"]')[0].is_displayed()
    page.click("#menu")
    page.open("p3_scan")
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


def test_next_scan(page: Page, viewer_server: Server) -> None:
    server = viewer_server
    page.start(server.url + "/viewer/")
    offered = server.request("GET", "/info/").json()["strategies"]
    shown = [option.get_attribute("value") for option in page.all("#strategy option")]
    assert sorted(shown) == sorted(offered)
    page.click('#strategy option[value="first"]')
    assert page.text("#strategy-about") == offered["first"]["description"]
    page.click("#next")
    page.until(lambda: page.text("#title") == "p0_scan")
    page.keys("b")
    page.drag(0, [(100, 30), (100, 34)])
    waiting = [item["id"] for item in server.request("GET", "/bonemets/worklist").json() if not item["labels"]]
    page.click("#save-next")
    page.until(lambda: page.text("#title") == min(set(waiting) - {"p0_scan"}))
    assert len(log_of(server, "p0_scan")) == 1


def test_browser_that_does_not_draw(page: Page, viewer_server: Server) -> None:
    """Neither WebGL nor a 2-D canvas: the page says what is missing, instead of staying white."""
    server = viewer_server
    added = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WITHOUT_CANVAS})
    page.driver.get(server.url + "/viewer/")
    page.until(lambda: "allow canvas" in page.text("#starting"))
    page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def save_all_of(server: Server, items: tuple[str, ...]) -> None:
    """Save a label of each item that has none."""
    for item in items:
        scan = read_planar(server.work / "datastore" / f"{item}.nii.gz")
        mask = scan.pixels > 50
        files = {"label": ("label.nii.gz", mask_bytes(scan, mask))}
        params = {"params": json.dumps({"client_id": "ben"})}
        assert server.request("PUT", f"/datastore/label?image={item}", files=files, data=params).ok


def test_training(page: Page, viewer_server: Server) -> None:
    """From clicks to new weights: a training that fails, one that is stopped, and one that is used."""
    server = viewer_server
    save_all_of(server, ("p5_scan", "p6_scan"))
    weights = server.work / "bundles" / BUNDLE / "models" / "model.pt"
    before = weights.read_bytes()
    page.start(server.url + "/viewer/")
    page.open("p4_scan")

    def begin(epochs: int) -> None:
        page.click("#train")
        field = page.until(lambda: page.all('dialog[open] input[name="epochs"]'))[0]
        field.clear()
        field.send_keys(str(epochs))
        page.answer("train")

    def status() -> str:
        return page.driver.find_element(By.ID, "training").get_attribute("data-status")

    # Somebody else starts one, with a setting that cannot be, while the question is open: it is not started twice.
    page.click("#train")
    page.until(lambda: page.all("dialog[open] select"))
    assert f"On {page.text('#progress-shown').split()[0]} labeled scans" in page.text("dialog")
    assert server.request("POST", f"/train/{BUNDLE}", json={"max_epochs": "many"}).ok
    page.answer("train")
    page.until(lambda: "not started twice" in page.text("#toast"))
    page.until(lambda: status() in ("SUBMITTED", "RUNNING"))
    assert not page.all("#train")[0].is_displayed()
    page.until(
        lambda: "The training failed: max_epochs must be a positive whole number" in page.text("#training-told"), 120
    )

    begin(500)
    page.until(lambda: status() == "RUNNING")
    page.click("#stop")
    page.answer("stop")
    page.until(lambda: page.text("#training-told") == "The training was stopped; the weights are as before.")
    assert weights.read_bytes() == before

    begin(2)
    told: set[str] = set()
    page.until(lambda: told.add(page.text("#training-told")) or status() == "DONE", 180)
    assert any(re.match(r"Epoch [12] of 2 · loss \d", line) for line in told), told
    page.until(lambda: page.text("#training-told").startswith("New weights are in use: lesion Dice "))
    record = json.loads(weights.with_suffix(".json").read_text())
    assert record["sha256"][:7] in page.text("#training-told")
    assert weights.read_bytes() != before
    # The annotator has gone on meanwhile; what is proposed now comes from the new weights.
    _, lesions = proposal(server, "p4_scan")
    page.click("#propose")
    page.until(lambda: "propose" in page.text("#toast"))
    assert page.states() == ["proposed"] * len(lesions)


def test_signing_in(page: Page, start_server: StartServer, realm: str, tmp_path: Path) -> None:
    make_study(tmp_path / "studies" / "p1", 1)
    settings = {"MONAI_LABEL_AUTH_ENABLE": "true", "MONAI_LABEL_AUTH_REALM_URI": realm}
    server = start_server(tmp_path / "studies", tmp_path / "work", **settings)
    # MONAI Label's OHIF has no way to send a token, so it is not to be had here.
    assert server.request("GET", "/ohif/").status_code == 401
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
