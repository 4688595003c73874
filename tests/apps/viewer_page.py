"""The viewer as somebody sees it who sits before it, and what a server has kept of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import nibabel as nib
import numpy as np
from label_server import BUNDLE, SHAPE, Server
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

# Pixels that share an edge or a corner are one lesion.
EIGHT = np.ones((3, 3), int)


class Page:
    """The viewer in a browser.

    Args:
        driver: the browser.
    """

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def until(self, condition: Callable[[], Any], seconds: float = 60) -> Any:
        # The lists are rebuilt with every change, maybe between finding a row and reading it.
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

    def resize(self, width: int, height: int, ratio: int = 1, mobile: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": mobile}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

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
