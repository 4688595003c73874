"""Verify every bundle, offline: files, metadata, ids, network input and output, export, weights.

    python scripts/verify_bundles.py [NAME ...]

Prints one line per bundle and check, and exits with status 1 if any fails. It trains nothing; that is what
tests/bundles is for.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out

from bonemets.engines.bundles import file_sha256

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = Path(__file__).with_name("meta_schema_20240725.json")
FILES = (
    "LICENSE",
    "configs/metadata.json",
    "configs/train.yaml",
    "configs/evaluate.yaml",
    "configs/inference.yaml",
    "configs/multi_gpu_train.yaml",
    "configs/logging.conf",
    "docs/README.md",
    "docs/data_license.txt",
)


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
    return "train and inference"


def check_overlays(bundle: Path) -> str:
    """Every overlay's network can be built."""
    configs = bundle / "configs"
    ablations = sorted((configs / "ablations").glob("*.yaml"))
    for overlay in ablations:
        parser = ConfigParser()
        parser.read_config([str(configs / "train.yaml"), str(overlay)])
        with torch.device("meta"):
            parser.get_parsed_content("network_def")
    return f"{len(ablations)} networks"


def check_network(bundle: Path) -> str:
    """The network takes and gives what the metadata says."""
    metadata, config = str(bundle / "configs" / "metadata.json"), str(bundle / "configs" / "inference.yaml")
    verify_net_in_out("network_def", metadata, config, device="cpu", bundle_root=str(bundle))
    return "input and output"


def check_export(bundle: Path) -> str:
    """The network goes through MONAI's TorchScript export and gives the same output."""
    config = bundle / "configs" / "inference.yaml"
    parser = ConfigParser()
    parser.read_config(str(config))
    parser["bundle_root"] = str(bundle)
    network = parser.get_parsed_content("network_def").eval()
    weights = bundle / "models" / "model.pt"
    if weights.is_file():
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, script = Path(folder) / "model.pt", Path(folder) / "model.ts"
        torch.save(network.state_dict(), checkpoint)
        ckpt_export(
            "network_def",
            filepath=str(script),
            ckpt_file=str(checkpoint),
            meta_file=str(bundle / "configs" / "metadata.json"),
            config_file=str(config),
            bundle_root=str(bundle),
        )
        image = torch.rand(1, parser.get_parsed_content("network_def::in_channels"), 128, 128)
        with torch.no_grad():
            difference = (torch.jit.load(script)(image) - network(image)).abs().max().item()
    if difference > 1e-4:
        raise BundleError(f"TorchScript differs by {difference:.1e}")
    return f"TorchScript, difference {difference:.0e}"


def check_weights(bundle: Path) -> str:
    """The weights are those that their record describes."""
    weights = bundle / "models" / "model.pt"
    if not weights.is_file():
        return "none"
    record = weights.with_suffix(".json")
    if not record.is_file():
        raise BundleError("models/model.pt has no model.json beside it")
    if json.loads(record.read_text(encoding="utf-8"))["sha256"] != file_sha256(weights):
        raise BundleError("models/model.json describes other weights than models/model.pt")
    return f"{weights.stat().st_size / 1e6:.1f} MB, as recorded"


CHECKS: dict[str, Callable[[Path], str]] = {
    "files": check_files,
    "metadata": check_metadata,
    "ids": check_ids,
    "overlays": check_overlays,
    "network": check_network,
    "export": check_export,
    "weights": check_weights,
}


def verify(bundle: Path) -> list[str]:
    """Run every check on a bundle, print what each says, and return what failed."""
    failures = []
    for name, check in CHECKS.items():
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
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    known = sorted(path.name for path in arguments.bundles.iterdir() if (path / "configs").is_dir())
    unknown = set(arguments.names) - set(known)
    if unknown:
        parser.error(f"no bundle {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    failed = [name for name in arguments.names or known if verify(arguments.bundles / name)]
    print(f"{len(failed)} of {len(arguments.names or known)} bundles failed" if failed else "all bundles are sound")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
