"""Write what a release carries: each bundle as a zip that ``monai.bundle download`` takes, and ``large_files.yml``.

::

    python scripts/bundles/make_release.py OUT --url https://github.com/OWNER/bonemets/releases/download/v0.2.0

``OUT/NAME_vVERSION.zip`` holds the folder NAME with its weights. ``OUT/NAME/large_files.yml`` has the place and the
hash of the weights, as the Model Zoo has it, for a copy of the bundle without them.
"""

from __future__ import annotations

import argparse
import io
import sys
import zipfile
from pathlib import Path

import yaml

from bonemets.bundle.folders import bundle_metadata
from bonemets.bundle.weights import shipped_record
from bonemets.data.files import write_bytes
from bonemets.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("configs", "docs", "models", "LICENSE")
DATE = (2020, 1, 1, 0, 0, 0)
"""Of every file in a zip, so that the same bundle makes the same zip."""


def zipped(bundle: Path) -> bytes:
    """A bundle's folder as a zip: configurations, documentation, license and weights, not what runs left in it."""
    files = [
        path
        for part in PARTS
        for path in ([bundle / part] if (bundle / part).is_file() else sorted((bundle / part).rglob("*")))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            entry = zipfile.ZipInfo(f"{bundle.name}/{path.relative_to(bundle).as_posix()}", DATE)
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def large_files(record: dict[str, str], name: str, url: str) -> bytes:
    """``large_files.yml`` for a bundle's weights, which the release carries as ``NAME.pt``."""
    entry = {"path": "models/model.pt", "url": f"{url}/{name}.pt", "hash_val": record["sha256"], "hash_type": "sha256"}
    return yaml.safe_dump({"large_files": [entry]}, sort_keys=False).encode()


def release(bundles: Path, output: Path, url: str) -> list[Path]:
    """Write zips, weights and ``large_files.yml`` of all bundles.

    Raises:
        InputError: a bundle's weights are missing or are not those that its record describes.
    """
    written = []
    for bundle in sorted(path.parent.parent for path in bundles.glob("*/configs/metadata.json")):
        record = shipped_record(bundle)
        if record is None:
            raise InputError(f"{bundle}: has no shipped weights; restore models/ with git")
        version = bundle_metadata(bundle)["version"]
        for path, content in (
            (output / f"{bundle.name}_v{version}.zip", zipped(bundle)),
            (output / f"{bundle.name}.pt", (bundle / "models" / "model.pt").read_bytes()),
            (output / bundle.name / "large_files.yml", large_files(record, bundle.name, url.rstrip("/"))),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content)
            written.append(path)
    return written


def main() -> int:
    """Write the release named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder to write")
    parser.add_argument("--url", required=True, help="where the release's files will be")
    options = parser.parse_args()
    try:
        written = release(ROOT / "bundles", options.output, options.url)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(*written, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
