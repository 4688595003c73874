"""Headers as cameras, exports and people leave them: SEG and SR are valid all the same, or the image is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.tag import Tag

from bonemets.data import read_ct, read_planar
from bonemets.dicom import Algorithm, NMHeader, write_ct_seg, write_ct_sr, write_nm, write_seg, write_sr
from bonemets.dicom.ct import CTHeader, ct_bytes
from bonemets.dicom.source_header import source_header
from bonemets.errors import InputError
from bonemets.reporting.study.ct_findings import measure_ct_findings
from bonemets.reporting.study.findings import measure_findings, number_findings

ALGORITHM = Algorithm("a bundle", "1.2")
OWN_CODES = "Unrecognized defined term = <99BONEMETS>"
# Data element, its bytes in the file, and what SEG and SR say instead; None: nothing at all.
ODD = [
    ("PatientSex", b"male", "M"),
    ("PatientSex", b"Female ", "F"),
    ("PatientSex", b"W", "F"),
    ("PatientSex", b"unknown ", ""),
    ("PatientSex", b"M\\F ", ""),
    ("PatientBirthDate", b"1950.01.31", "19500131"),
    ("PatientBirthDate", b"1950-01-31", "19500131"),
    ("PatientBirthDate", b"31.01.1950", ""),
    ("PatientBirthDate", b"19500231", ""),
    ("PatientBirthDate", b"1950", ""),
    ("StudyDate", b"20240101-20240102 ", ""),
    ("StudyDate", b"", ""),
    ("StudyTime", b"12:34:56", "123456"),
    ("StudyTime", b"1234", "1234"),
    ("StudyTime", b"12:34:56.789", "123456.789"),
    ("StudyTime", b"256199", ""),
    ("StudyTime", b"noon", ""),
    ("PatientName", b"M\xfcller\\Hans", "Müller Hans"),
    ("PatientName", b"A^B^C^D^E^F^G ", "A^B^C^D^E"),
    ("PatientName", b"^^^^", ""),
    ("PatientName", b"x" * 200, "x" * 64),
    ("PatientID", b"12\\34 ", ""),
    ("PatientID", b"1" * 80, ""),
    ("PatientID", b"a\x07b ", "ab"),
    ("AccessionNumber", b"A" * 18, ""),
    ("StudyID", b"a study of hers, the second one", ""),
    ("ReferringPhysicianName", b"Dr. No\\Dr. Yes ", "Dr. No Dr. Yes"),
    ("StudyDescription", b"d" * 90, "d" * 64),
    ("PatientAge", b"72", None),
    ("PatientAge", b"072Y", "072Y"),
    ("PatientWeight", b"70,5", "70.5"),
    ("PatientWeight", b"0 ", None),
    ("PatientWeight", b"heavy ", None),
    ("PatientSize", b"NaN ", None),
]
SPACINGS = {
    b"2,26\\2,26": (2.26, 2.26),
    b"2.26\\NaN ": (1.0, 1.0),
    b"2.26": (1.0, 1.0),
    b"unknown ": (1.0, 1.0),
    b"0\\0 ": (1.0, 1.0),
    b"-1\\-1 ": (1.0, 1.0),
    b"": (1.0, 1.0),
    b"1e999\\1e999": (1.0, 1.0),
}
CHARACTER_SETS = {
    b"ISO_IR 100": (b"M\xfcller^J\xf6rg ", "Müller^Jörg"),
    b"ISO_IR 192": ("Müller^Jörg".encode(), "Müller^Jörg"),
    b"ISO_IR 6": (b"Mueller^Joerg ", "Mueller^Joerg"),
    b"": (b"Mueller^Joerg ", "Mueller^Joerg"),
    b"LATIN-NONE": (b"Mueller^Joerg ", "Mueller^Joerg"),
    b"\\ISO 2022 IR 87": (
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    b"\\ISO 2022 IR 149": (b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "Hong^Gildong=洪^吉洞"),
    b"\\ISO 2022 IR 58": (b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab", "Zhang^XiaoDong=张^小东"),
    b"ISO_IR 144": ("Люкceмбypг".encode("iso8859_5"), "Люкceмбypг"),
}
BAD_UIDS = [b"", b"1.2.abc", b"1.02.3", b"not at all", b"1." + b"2" * 70, b"1.2\\1.3", b"1"]
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def with_bytes(path: Path, **values: bytes) -> Path:
    """Put bytes into a file as they are, as no library would write them."""
    if len(values) > 1 and "SpecificCharacterSet" in values:
        # First alone: values that are written together with another character set would be encoded again.
        with_bytes(path, SpecificCharacterSet=values.pop("SpecificCharacterSet"))
    dataset = pydicom.dcmread(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, content in values.items():
            tag = Tag(keyword)
            vr = pydicom.datadict.dictionary_VR(tag)
            padded = content + (b"" if len(content) % 2 == 0 else b"\0" if vr == "UI" else b" ")
            raw = pydicom.dataelem.RawDataElement(tag, vr, len(padded), padded, 0, False, True)
            dataset._dict[tag] = raw
        pydicom.dcmwrite(path, dataset)
    return path


@pytest.fixture
def bone_scan(tmp_path: Path) -> Path:
    counts = np.random.default_rng(0).poisson(5, (64, 24, 2)).astype(np.uint16)
    write_nm(tmp_path / "scan.dcm", counts, NMHeader("patient_0001", sex="F", age_years=61))
    return tmp_path / "scan.dcm"


@pytest.fixture
def ct_slice(tmp_path: Path) -> Path:
    hu = np.full((32, 24), -1000, np.int16)
    hu[8:20, 6:18] = 60
    (tmp_path / "ct.dcm").write_bytes(ct_bytes(hu, (0.0, 0.0, 5.0), 1.5, 1, CTHeader("patient_0001")))
    return tmp_path / "ct.dcm"


def objects(path: Path) -> list[pydicom.Dataset]:
    """SEG and SR of a file."""
    out = path.parent
    if path.name == "ct.dcm":
        ct = read_ct(path)
        mask = (ct.pixels > 0).astype(np.uint8)
        write_ct_seg(out / "seg.dcm", ct, mask, algorithm=ALGORITHM)
        findings, numbered = measure_ct_findings(ct, mask * 0.5, mask)
        write_ct_sr(out / "sr.dcm", ct, numbered, findings, ALGORITHM)
    else:
        scan = read_planar(path)
        planar = np.zeros(scan.pixels.shape, np.uint8)
        planar[10:14, 5:9, 0] = 1
        write_seg(out / "seg.dcm", scan, planar, algorithm=ALGORITHM)
        spacing = None if scan.spacing == (1.0, 1.0) else scan.spacing
        found = measure_findings(scan.pixels, planar * 0.5, planar, scan.views, spacing, name_bones=False)
        write_sr(out / "sr.dcm", scan, number_findings(planar), found, ALGORITHM)
    return [pydicom.dcmread(out / name) for name in ("seg.dcm", "sr.dcm")]


def check_valid(validate: Any, folder: Path) -> None:
    for name in ("seg.dcm", "sr.dcm"):
        lines = [line for line in validate(folder / name) if OWN_CODES not in line]
        assert not [line for line in lines if line.startswith("Error")], lines


@pytest.mark.parametrize(("keyword", "content", "expected"), ODD)
def test_odd_values(bone_scan: Path, keyword: str, content: bytes, expected: str | None) -> None:
    with_bytes(bone_scan, SpecificCharacterSet=b"ISO_IR 100", **{keyword: content})
    for made in objects(bone_scan):
        assert (str(made[keyword].value) if keyword in made else None) == expected
        assert made.StudyInstanceUID == pydicom.dcmread(bone_scan).StudyInstanceUID


@pytest.mark.parametrize("name", ["scan.dcm", "ct.dcm"])
def test_all_odd_values_at_once_are_valid(name: str, request: pytest.FixtureRequest, validate: Any) -> None:
    path = request.getfixturevalue("bone_scan" if name == "scan.dcm" else "ct_slice")
    for offset in range(3):
        seen = list({keyword: content for keyword, content, _ in ODD[offset:]}.items())
        with_bytes(path, **dict(seen))
        objects(path)
        check_valid(validate, path.parent)


@pytest.mark.parametrize("character_set", CHARACTER_SETS)
def test_character_sets(bone_scan: Path, character_set: bytes, validate: Any) -> None:
    content, expected = CHARACTER_SETS[character_set]
    with_bytes(bone_scan, SpecificCharacterSet=character_set, PatientName=content)
    for made in objects(bone_scan):
        assert str(made.PatientName) == expected
    check_valid(validate, bone_scan.parent)


@pytest.mark.parametrize("content", SPACINGS)
def test_pixel_spacing_of_a_bone_scan(bone_scan: Path, content: bytes, validate: Any) -> None:
    with_bytes(bone_scan, PixelSpacing=content)
    assert read_planar(bone_scan).spacing == SPACINGS[content]
    segmentation, _ = objects(bone_scan)
    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert tuple(map(float, measures.PixelSpacing)) == SPACINGS[content]
    check_valid(validate, bone_scan.parent)


@pytest.mark.parametrize("content", SPACINGS)
def test_pixel_spacing_of_a_ct(ct_slice: Path, content: bytes, validate: Any) -> None:
    with_bytes(ct_slice, PixelSpacing=content)
    if SPACINGS[content] == (1.0, 1.0):
        with pytest.raises(InputError, match="PixelSpacing"):
            read_ct(ct_slice)
        return
    assert read_ct(ct_slice).spacing == pytest.approx(SPACINGS[content])
    objects(ct_slice)
    check_valid(validate, ct_slice.parent)


@pytest.mark.parametrize("keyword", UIDS)
@pytest.mark.parametrize("content", BAD_UIDS)
@pytest.mark.parametrize("name", ["bone_scan", "ct_slice"])
def test_an_identifier_that_nothing_can_refer_to(
    name: str, keyword: str, content: bytes, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(name)
    with_bytes(path, **{keyword: content})
    with pytest.raises(InputError, match=f"{path.name}.*{keyword}"):
        objects(path)
    assert not (path.parent / "seg.dcm").exists()


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("content", [b"NaN ", b"inf ", b"steep ", b"1\\2 "])
def test_values_that_cannot_be_rescaled(bone_scan: Path, ct_slice: Path, keyword: str, content: bytes) -> None:
    for path, read in ((bone_scan, read_planar), (ct_slice, read_ct)):
        with_bytes(path, **{keyword: content})
        with pytest.raises(InputError, match=keyword):
            read(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keyword=st.sampled_from(["PatientName", "PatientID", "PatientSex", "StudyDate", "StudyTime", "PatientAge"]),
    text=st.text(st.characters(exclude_categories=("Cs",)), max_size=80),
)
def test_any_text_gives_a_valid_value(keyword: str, text: str) -> None:
    dataset = pydicom.Dataset()
    dataset.SOPClassUID = dataset.SOPInstanceUID = dataset.StudyInstanceUID = dataset.SeriesInstanceUID = "1.2.3"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        element = pydicom.DataElement(Tag(keyword), pydicom.datadict.dictionary_VR(Tag(keyword)), text, 0)
        dataset.add(element)
        header = source_header(dataset)
    # pydicom's own rules, which refuse instead of warning.
    value = str(header.get(keyword, ""))
    pydicom.valuerep.validate_value(header.data_element(keyword).VR if keyword in header else "LO", value, 2)
    assert "\\" not in value
