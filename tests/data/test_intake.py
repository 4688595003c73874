"""Nothing is skipped in silence: links, archives, DICOMDIR, copies and objects of other kinds."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from bonemets.data import intake, read_study
from bonemets.data.adapters.base import list_files
from bonemets.data.intake import Skipped
from bonemets.errors import InputError

APPLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(100)


def read(source: Path) -> tuple[int, dict[str, int]]:
    """How many scans a source gives, and how many things were skipped for each reason."""
    skipped = Skipped()
    scans = read_study(source, skipped)
    assert all(scan.path.exists() for scan in scans)
    return len(scans), {reason: len(names) for reason, names in skipped.reasons.items()}


@pytest.fixture
def two(save_nm, counts) -> tuple[bytes, bytes]:
    """Two scans as files."""
    one = save_nm("made/1.dcm", counts, study="first").read_bytes()
    return one, save_nm("made/2.dcm", counts + np.uint16(1), study="second").read_bytes()


def raw(name: str) -> zipfile.ZipInfo:
    """A member's name as Windows programs wrote it, with back-slashes."""
    member = zipfile.ZipInfo("x")
    member.filename = name
    return member


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["scans.zip", "scans.ZIP", "scans", "folder/inner.zip"])
@pytest.mark.parametrize(
    ("members", "scans", "skipped"),
    [
        ([("a/1.dcm", 0), ("b/1.dcm", 1)], 2, {}),
        ([("1.dcm", 0), ("1.dcm", 1)], 2, {}),
        ([("1.dcm", 0), ("1.DCM", 1)], 2, {}),
        ([(raw("st udy\\1.dcm"), 0), (raw("st udy\\2"), 1)], 2, {}),
        ([(raw("s\\1.dcm"), 0), (raw("s\\._1.dcm"), APPLE), (raw("__MACOSX\\s\\._1.dcm"), APPLE)], 1, 2),
        ([("s/1.dcm", 0), ("s/._1.dcm", APPLE), ("__MACOSX/s/._1.dcm", APPLE), ("s/.DS_Store", b"x")], 1, 3),
        ([("1.dcm", 0), ("copy.dcm", 0)], 1, {"a copy of a scan that is there already": 1}),
        ([("d/" + "n" * 300 + ".dcm", 0), ("d/" + "n" * 301 + ".dcm", 1)], 2, {}),
        ([("/abs/1.dcm", 0), ("../../up.dcm", 1)], 2, {}),
        ([("x", 0), ("x/1.dcm", 1)], 2, {}),
        ([("x.dcm/", b""), ("x.dcm/1", 0)], 1, {}),
        ([("1.dcm", 0), ("letter.txt", b"hello"), ("report.pdf", b"%PDF-1.4")], 1, {"no image": 2}),
        ([("1.dcm", 0), ("rest.7z", b"7z")], 1, 1),
        ([("1.dcm", 0), ("inner.zip", zipped(("broken.txt", b"x"))[:-30])], None, "inner.zip: cannot be unpacked"),
        ([("1.dcm", 0), ("picture.png", b"x")], 1, {"no DICOM, where there are scans in DICOM": 1}),
        ([("letter.txt", b"hello")], None, "holds no DICOM"),
    ],
)  # fmt: skip
def test_members_of_a_zip(tmp_path, two, name, members, scans, skipped):
    content = zipped(*((member, two[each] if isinstance(each, int) else each) for member, each in members))
    path = tmp_path / "in" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    source = path.parent if name.startswith("folder") else path
    if scans is None:
        with pytest.raises(InputError, match=skipped):
            read(source)
        return
    found, reasons = read(source)
    assert found == scans
    assert reasons == skipped if isinstance(skipped, dict) else sum(reasons.values()) == skipped
    assert not (tmp_path / "up.dcm").exists()


@pytest.mark.parametrize("name", ["scans.tar.gz", "scans.tgz"])
def test_archives_in_archives(tmp_path, two, name):
    inner = tarred(("s/1.dcm", two[0]), ("s/inner.zip", zipped(("2.dcm", two[1]))))
    path = tmp_path / "in" / "sub" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(inner)
    for source in (path, tmp_path / "in"):
        assert read(source) == (2, {})
        assert {scan.path for scan in read_study(source)} == {path}
    (tmp_path / "more.zip").write_bytes(zipped((name, inner)))
    assert read(tmp_path / "more.zip") == (2, {})


def test_archives_are_not_unpacked_without_end(tmp_path, two, monkeypatch):
    deep = zipped(("1.dcm", two[0]))
    for _ in range(intake.MAX_DEPTH + 1):
        deep = zipped(("inner.zip", deep))
    (tmp_path / "deep.zip").write_bytes(deep)
    with pytest.raises(InputError, match="lies in 5 other archives"):
        read(tmp_path / "deep.zip")
    monkeypatch.setattr(intake, "MAX_ARCHIVE_BYTES", 1000)
    with pytest.raises(InputError, match="unpacks to more than"):
        read(tmp_path / "deep.zip")


def test_messages_name_the_archive_and_no_temporary_folder(tmp_path, two):
    (tmp_path / "a.zip").write_bytes(zipped(("inner.zip", zipped(("cut.dcm", two[0][:-200])))))
    with pytest.raises(InputError) as caught:
        read_study(tmp_path / "a.zip")
    assert str(caught.value).startswith(f"{tmp_path}/a.zip/inner.zip/cut.dcm: ")


@pytest.mark.parametrize(
    ("kind", "scans", "skipped"),
    [
        ("folders", 2, {}),
        ("files", 2, {}),
        ("store", 2, {}),
        ("some", 2, {}),
        ("dangling", 1, {"a link to a file that is not there": 1}),
        ("loop", 1, {"a link to a folder that is searched already": 1}),
        ("twice", 1, {"a link to a folder that is searched already": 1}),
    ],
)
def test_links(tmp_path, two, kind, scans, skipped):
    for number, content in enumerate(two):
        real = tmp_path / "store" / f"p{number}" / ("scan.dcm" if kind != "store" else f"{number:064x}")
        real.parent.mkdir(parents=True)
        real.write_bytes(content)
        place = tmp_path / "in" / f"p{number}"
        place.parent.mkdir(exist_ok=True)
        if kind in ("folders", "some") and (kind == "folders" or number):
            place.symlink_to(real.parent)
        elif kind in ("files", "store"):
            place.mkdir()
            (place / "scan.dcm").symlink_to(real)
        elif not number or kind == "some":
            place.mkdir()
            (place / "scan.dcm").write_bytes(content)
    if kind == "dangling":
        (tmp_path / "in" / "gone.dcm").symlink_to("/nowhere/x.dcm")
    if kind in ("loop", "twice"):
        (tmp_path / "in" / "p0" / "again").symlink_to(tmp_path / "in" / ("p0" if kind == "loop" else ""))
    assert read(tmp_path / "in") == (scans, skipped)
    assert len(list_files(tmp_path / "in", (".dcm",))) == scans


def test_a_store_without_suffixes(tmp_path, two):
    for number, content in enumerate(two):
        path = tmp_path / "store" / f"{number:02d}" / f"1.2.840.{number}"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    (tmp_path / "store" / "index").write_bytes(b"SQLite format 3")
    assert read(tmp_path / "store") == (2, {"no image": 1})


def dicomdir(path: Path, names: list[list[str]]) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    records = []
    for name in names:
        record = Dataset()
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", name
        records.append(record)
    directory.DirectoryRecordSequence = records
    directory.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("name", ["DICOMDIR", "dicomdir", "index.dir"])
def test_a_dicomdir_stands_for_its_files(tmp_path, two, name):
    for place, content in (("DICOM/IM1", two[0]), ("dicom2/im2.;1", two[1]), ("DICOM/OTHER", two[1])):
        (tmp_path / "cd" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cd" / place).write_bytes(content)
    dicomdir(tmp_path / "cd" / name, [["DICOM", "IM1"], ["DICOM2", "IM2"], ["DICOM", "GONE"]])
    assert read(tmp_path / "cd" / name) == (2, {"named by the DICOMDIR, but not there": 1})
    found, reasons = read(tmp_path / "cd")
    assert found == 2
    assert sum(reasons.values()) == 2  # the directory, and the copy


def change(path: Path, **values: str) -> None:
    dataset = dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def test_other_objects_beside_a_scan_are_counted(tmp_path, save_nm, counts):
    save_nm("s/1.dcm", counts)
    for number in range(3):
        path = save_nm(f"s/ct/{number}.dcm", counts[..., :1], views=("anterior",))
        change(path, Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2", SOPInstanceUID=f"1.2.{number}")
    scans, reasons = read(tmp_path / "s")
    assert scans == 1
    assert [(count, "CT" in reason) for reason, count in reasons.items()] == [(3, True)]


def test_spot_views_beside_a_whole_body_scan_are_counted(tmp_path, save_nm, counts):
    save_nm("s/1.dcm", counts[:20], lambda d: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]))
    save_nm("s/2.dcm", counts)
    assert read(tmp_path / "s") == (1, {"a spot view of a study with a whole-body scan": 1})


@pytest.mark.parametrize(
    ("first", "second", "scans"),
    [
        ({"PatientID": "A"}, {"PatientID": "B"}, 2),
        ({"PatientID": "A"}, {"PatientID": "a "}, 1),
        ({"PatientID": "007"}, {"PatientID": "7"}, 1),
        ({"PatientID": "", "PatientName": "One"}, {"PatientID": "", "PatientName": "Two"}, 2),
        ({"PatientID": "ANON", "PatientName": "One"}, {"PatientID": "ANON", "PatientName": "Two"}, 2),
        ({"StudyInstanceUID": ""}, {"StudyInstanceUID": ""}, 1),
        ({"StudyInstanceUID": "", "StudyDate": "20200101"}, {"StudyInstanceUID": "", "StudyDate": "20210101"}, 2),
    ],
)
def test_views_of_two_patients_under_one_study_uid_are_not_merged(tmp_path, save_nm, counts, first, second, scans):
    change(save_nm("s/1.dcm", counts[..., :1], views=("anterior",)), **first)
    change(save_nm("s/2.dcm", counts[..., 1:], views=("posterior",)), **second)
    assert read(tmp_path / "s") == (scans, {})


@pytest.mark.parametrize("uid", ["", "1.2.3"])
def test_equal_identifiers_alone_are_no_copy(tmp_path, save_nm, counts, uid):
    change(save_nm("s/1.dcm", counts, study="a"), SOPInstanceUID=uid)
    change(save_nm("s/2.dcm", counts + np.uint16(1), study="b"), SOPInstanceUID=uid)
    assert read(tmp_path / "s") == (2, {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_folders_that_cannot_be_opened_are_counted(tmp_path, two):
    (tmp_path / "in" / "closed").mkdir(parents=True)
    (tmp_path / "in" / "1.dcm").write_bytes(two[0])
    (tmp_path / "in" / "closed").chmod(0)
    assert read(tmp_path / "in") == (1, {"cannot be opened; check its permissions": 1})
    (tmp_path / "in" / "closed").chmod(0o700)
