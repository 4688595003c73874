"""Annotating in the viewer: a real Chromium and a real server, real clicks, down to the label's pixels on disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from label_server import SHAPE, Server
from scipy import ndimage
from selenium.webdriver.common.by import By
from viewer_page import EIGHT, Page, disk, label_of, log_of, proposal, sizes

pytestmark = pytest.mark.slow


def test_proposal_corrected_and_saved(page: Page, viewer_server: Server) -> None:
    server = viewer_server
    page.start(server.url + "/viewer/")
    done = int(page.text("#progress-shown").split()[0])
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
    page.until(lambda: page.text("#progress-shown") == f"{done + 1} of 7 labeled")
    # MONAI Label answers 404 where nothing has been trained yet, and a browser notes that as an error.
    severe = [entry["message"] for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert [message for message in severe if "/train/ - Failed" not in message] == []


def test_split_jump_and_versions(page: Page, viewer_server: Server) -> None:
    server = viewer_server
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


def test_two_annotators(page: Page, viewer_server: Server, tmp_path: Path) -> None:
    server = viewer_server
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
