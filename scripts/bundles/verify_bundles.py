"""Verify every bundle, offline: files, metadata, ids, overlays, network input and output, exports, weights.

    python scripts/bundles/verify_bundles.py [NAME ...]

Prints one line per bundle and check, and exits with status 1 if any fails. Exports are of the network at its full width
and of a whole image, by MONAI's commands, in TorchScript, ONNX Runtime and OpenVINO. It trains nothing; that is what
tests/bundles is for.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from monai.bundle import ConfigParser, ConfigWorkflow, verify_metadata, verify_net_in_out

from bonemets.bundle.folders import file_sha256
from bonemets.bundle.weights import MAXIMUM_BYTES
from export_parity import RUNTIMES, export_differences, whole_image

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = Path(__file__).with_name("meta_schema_20240725.json")
OVERLAYS = (
    "compact", "early_stopping", "ema", "fine_tune", "gradient_accumulation", "multi_gpu_train", "warm_restart",
)  # fmt: skip
FILES = (
    "LICENSE",
    "configs/metadata.json",
    "configs/train.yaml",
    "configs/evaluate.yaml",
    "configs/inference.yaml",
    "configs/logging.conf",
    "docs/README.md",
    "docs/data_license.txt",
    *(f"configs/{name}.yaml" for name in OVERLAYS),
)
TOLERANCE = 1e-4  # of an export, relative to the greatest value of the output


class BundleError(Exception):
    """A bundle is not as it should be."""


def check_files(bundle: Path) -> str:
    """The files are there, the name tells MONAI Label the task, and there is an overlay per row of the paper."""
    missing = [name for name in FILES if not (bundle / name).is_file()]
    if missing:
        raise BundleError(f"missing {', '.join(missing)}")
    if not bundle.name.endswith("_segmentation"):
        raise BundleError("the name must end in _segmentation")
    rows = list((bundle / "configs" / "ablations").glob("*.yaml"))
    if not rows:
        raise BundleError("no overlay in configs/ablations")
    return f"{len(rows)} ablation rows"


def check_metadata(bundle: Path) -> str:
    """The metadata fits MONAI's schema, and the version has an entry in the changelog."""
    path = bundle / "configs" / "metadata.json"
    verify_metadata(meta_file=str(path), filepath=str(SCHEMA))
    metadata = json.loads(path.read_text(encoding="utf-8"))
    if metadata["version"] not in metadata.get("changelog", {}):
        raise BundleError(f"version {metadata['version']} has no entry in the changelog")
    return f"version {metadata['version']}"


def check_ids(bundle: Path) -> str:
    """The ids of MONAI's properties that need no data exist."""
    for name, kind in (("train", "train"), ("inference", "infer")):
        workflow = ConfigWorkflow(str(bundle / "configs" / f"{name}.yaml"), workflow_type=kind, logging_file=False)
        for key, entry in workflow.properties.items():
            if entry["required"] and entry["id"] not in workflow.parser:
                raise BundleError(f"{name}.yaml lacks {entry['id']} ({key})")
        if "$import bonemets.bundle.short_errors" not in workflow.parser["imports"]:
            raise BundleError(f"{name}.yaml does not import bonemets.bundle.short_errors")
    return "train and inference"


def check_overlays(bundle: Path) -> str:
    """Every overlay can be merged and its network built; the rows of a table are experiments that differ."""
    configs = bundle / "configs"
    seen: dict[tuple[str, str], str] = {}
    ablations = sorted((configs / "ablations").glob("*.yaml"))
    for overlay in [*(configs / f"{name}.yaml" for name in OVERLAYS), *ablations]:
        parser = ConfigParser()
        parser.read_config([str(configs / "train.yaml"), str(overlay)])
        if overlay in ablations:
            ignored = ("overlays", "output_dir", "ckpt_dir")
            experiment = {key: value for key, value in parser.get().items() if key not in ignored}
            key = overlay.stem.split("_row")[0], json.dumps(experiment, sort_keys=True)
            if key in seen:
                raise BundleError(f"{overlay.stem} is the same experiment as {seen[key]}")
            seen[key] = overlay.stem
        with torch.device("meta"):
            parser.get_parsed_content("network_def")
    tables = {table for table, _ in seen}
    return f"{len(OVERLAYS)} of training, {len(ablations)} rows of {len(tables)} tables"


def check_network(bundle: Path) -> str:
    """The network takes and gives what the metadata says."""
    metadata, config = str(bundle / "configs" / "metadata.json"), str(bundle / "configs" / "inference.yaml")
    verify_net_in_out("network_def", metadata, config, device="cpu", bundle_root=str(bundle))
    return "input and output"


def check_export(bundle: Path) -> str:
    """The network goes through MONAI's exports, and what runs them gives the same output on a whole image."""
    weights = bundle / "models" / "model.pt"
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        found = export_differences(bundle, weights if weights.is_file() else None, Path(folder))
    text = ", ".join(f"{name} {found[name]:.0e}" for name in RUNTIMES)
    if max(found.values()) > TOLERANCE:
        raise BundleError(f"exports differ: {text}")
    return f"differences on {'×'.join(map(str, whole_image(bundle)))}: {text}"


def check_open_size(bundle: Path) -> str:
    """The ONNX export with height and width left open, on a whole image; where it does not work, that is no failure."""
    runtimes = [name for name in RUNTIMES if name != "TorchScript"]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        try:
            found = export_differences(bundle, None, Path(folder), runtimes=runtimes, dynamic=True)
        except (RuntimeError, AssertionError, ValueError, TypeError) as error:
            return f"not possible: {type(error).__name__}"
    works = [f"{name} {difference:.0e}" for name, difference in found.items() if difference <= TOLERANCE]
    return ", ".join(works) or f"not possible: wrong by {max(found.values()):.0e}"


def check_weights(bundle: Path) -> str:
    """The weights are those that their record describes."""
    weights = bundle / "models" / "model.pt"
    if not weights.is_file():
        return "none"
    record = weights.with_suffix(".json")
    if not record.is_file():
        raise BundleError("models/model.pt has no model.json beside it")
    told = json.loads(record.read_text(encoding="utf-8"))
    if told["sha256"] != file_sha256(weights):
        raise BundleError("models/model.json describes other weights than models/model.pt")
    megabytes = weights.stat().st_size / 1e6
    if "training" not in told:
        return f"{megabytes:.1f} MB, as recorded; trained here, not shipped"
    if weights.stat().st_size > MAXIMUM_BYTES:
        raise BundleError(f"models/model.pt has {megabytes:.1f} MB, more than {MAXIMUM_BYTES / 1e6:.0f}")
    if not (weights.parent / told["training"]["log"]).is_file():
        raise BundleError(f"models/model.pt has no {told['training']['log']} beside it")
    return f"{megabytes:.1f} MB, as recorded"


CHECKS: dict[str, Callable[[Path], str]] = {
    "files": check_files,
    "metadata": check_metadata,
    "ids": check_ids,
    "overlays": check_overlays,
    "network": check_network,
    "export": check_export,
    "weights": check_weights,
}
SLOW_CHECKS: dict[str, Callable[[Path], str]] = {"open size": check_open_size}


def verify(bundle: Path, checks: Mapping[str, Callable[[Path], str]] = CHECKS) -> list[str]:
    """Run checks on a bundle, print what each says, and return what failed."""
    failures = []
    for name, check in checks.items():
        try:
            outcome = check(bundle)
        except (BundleError, ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
            failures.append(name)
            outcome = f"FAILED: {' '.join(str(error).split())[:300]}"
        print(f"{bundle.name}  {name:9} {outcome}", flush=True)
    return failures


def main() -> int:
    """Verify the bundles named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="bundles to verify (all)")
    parser.add_argument("--bundles", type=Path, default=ROOT / "bundles", help="folder of the bundles")
    parser.add_argument(
        "--open-size", action="store_true", help="also say whether ONNX works with any height and width"
    )
    arguments = parser.parse_args()
    checks = {**CHECKS, **(SLOW_CHECKS if arguments.open_size else {})}
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    known = sorted(path.name for path in arguments.bundles.iterdir() if (path / "configs").is_dir())
    unknown = set(arguments.names) - set(known)
    if unknown:
        parser.error(f"no bundle {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    failed = [name for name in arguments.names or known if verify(arguments.bundles / name, checks)]
    print(f"{len(failed)} of {len(arguments.names or known)} bundles failed" if failed else "all bundles are sound")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
