"""Run a bundle on a scan in memory, exactly as its ``configs/inference.yaml`` says.

The configuration stays the one description of pre-processing, network, inferer and post-processing; the predictor
only replaces what belongs to files: it hands over the pixels instead of loading them, and returns the mask instead of
saving it.
"""

from __future__ import annotations

import pydoc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import AsDiscreted, Compose, LoadImaged, MapTransform, SaveImaged
from numpy.typing import NDArray

from bonemets.bundle.folders import bundle_metadata, file_sha256, find_weights, read_provenance
from bonemets.bundle.loading import load_weights
from bonemets.bundle.weights import trained_on_simulated
from bonemets.data.ct.reader import CTReader
from bonemets.data.ct.scan import CTScan, from_display, read_ct
from bonemets.data.pictures import PictureReader
from bonemets.data.planar.scan import PlanarScan
from bonemets.data.planar.study import read_planar
from bonemets.data.prediction import Prediction
from bonemets.errors import InputError
from bonemets.networks.registry import NETWORKS

# What a weights file's model.json may build. It travels with weights, which people exchange, and a configuration can
# name any function; networks of other packages fetch files from addresses that are among their arguments.
NETWORK_PACKAGE = "bonemets.networks."


class BundlePredictor:
    """A bundle with its weights, ready to segment scans.

    Args:
        bundle_dir: the bundle's folder, with ``configs/inference.yaml``.
        device: "cpu", "cuda", "cuda:1", …, or "auto" for the first GPU if there is one.
        weights: a state dict, or a dict that has one under "model", as ``torch.save`` writes it. Default: the bundle's
            ``models/model.pt``. A ``network_def`` in the .json file of the same name beside it replaces the
            configuration's, so that a model of another width just works.

    Raises:
        InputError: the folder is no bundle, the weights are missing or do not fit, or there is no such device.
    """

    def __init__(self, bundle_dir: str | Path, device: str = "cpu", weights: str | Path | None = None) -> None:
        self.bundle_dir = Path(bundle_dir)
        config = self.bundle_dir / "configs" / "inference.yaml"
        if not config.is_file():
            raise InputError(f"{self.bundle_dir} is not a bundle: it has no configs/inference.yaml")
        self.device = find_device(device)
        self.weights = find_weights(self.bundle_dir, weights)
        self.provenance = checked_provenance(self.weights)

        self.metadata = bundle_metadata(self.bundle_dir)
        parser = ConfigParser()
        try:
            parser.read_config(str(config))
            parser["bundle_root"] = str(self.bundle_dir)
            parser["ckpt_path"] = str(self.weights)
            parser["device"] = f"$torch.device('{self.device}')"
            if "network_def" in self.provenance:
                parser["network_def"] = self.provenance["network_def"]
            parser.get_parsed_content("imports", default=None)
            self.network: torch.nn.Module = parser.get_parsed_content("network").to(self.device)
            self.inferer = parser.get_parsed_content("inferer")
            preprocessing = parser.get_parsed_content("preprocessing")
            self.in_color = _reads_with(preprocessing, PictureReader)
            self.is_ct = _reads_with(preprocessing, CTReader)
            self.preprocessing = _without_files(preprocessing)
            self.postprocessing = _without_files(parser.get_parsed_content("postprocessing"))
        except (RuntimeError, KeyError, ModuleNotFoundError, yaml.YAMLError) as error:
            raise InputError(f"{config} cannot be built: {_root_cause(error)}") from error
        self._load_weights()
        thresholds = [t.threshold[0] for t in self.postprocessing if isinstance(t, AsDiscreted)]
        if len(thresholds) != 1 or thresholds[0] is None:
            raise InputError(f"{config}: postprocessing needs exactly one AsDiscreted, with a threshold")
        self.threshold = float(thresholds[0])

    @property
    def name(self) -> str:
        """The bundle's name: that of its folder."""
        return self.bundle_dir.resolve().name

    def _load_weights(self) -> None:
        advice = "keep the .json file that training wrote beside the weights, or choose another --bundle"
        load_weights(self.network, self.weights, f"{type(self.network).__name__} of {self.name}: {advice}", self.device)
        self.network.eval()

    def read(self, path: str | Path) -> PlanarScan | CTScan:
        """Read a scan, or its label map, the way that the bundle's configuration reads images.

        Raises:
            InputError: it cannot be read, or is not what the bundle is for.
        """
        return read_ct(path) if self.is_ct else read_planar(path)

    def predict(
        self,
        scan: PlanarScan | CTScan,
        threshold: float | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Prediction:
        """Segment every view of a scan, or every slice of a CT.

        Args:
            scan: what `read` returns.
            threshold: probability at and above which a pixel is lesion, 0 to 1; the configuration's by default.
            progress: for a CT, called with how many slices the network has seen and how many there are.

        Returns:
            Probability and mask on the scan's own grid.

        Raises:
            InputError: if the bundle reads colors and the scan is not a picture, or what the network computes is not
                finite.
        """
        # Copied: the configuration's transforms may work in place, and the scan is the caller's.
        pixels = np.array(self.colors(scan) if self.in_color else scan.pixels, dtype=np.float32)
        meta = {"format": scan.format}
        image = MetaTensor(torch.from_numpy(pixels), affine=torch.tensor(scan.affine), meta=meta)
        data: dict[str, Any] = {"image": image}
        seen = 0

        def counted(windows: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            nonlocal seen
            output = self.network(windows, *args, **kwargs)
            seen += len(windows)
            if self.is_ct:
                # The network sees whole slices; with smaller windows the count ends early.
                progress(min(seen, pixels.shape[-1]), pixels.shape[-1])
            return output

        for transform in self.preprocessing:
            data = transform(data)
        with torch.inference_mode():
            logits = self.inferer(data["image"][None].to(self.device), counted)
        data["pred"] = logits[0].cpu()
        if not torch.isfinite(data["pred"]).all():
            raise InputError(
                f"{scan.path}: {self.name} with {self.weights} computes values that are not finite numbers; "
                "use other weights"
            )

        probability = None
        for transform in self.postprocessing:
            if isinstance(transform, AsDiscreted):
                probability = _lesion_channel(data["pred"])
                if threshold is not None:
                    transform = AsDiscreted(keys="pred", threshold=threshold)  # noqa: PLW2901
            data = transform(data)
        mask = _lesion_channel(data["pred"])
        if probability is None or mask.shape != scan.pixels.shape:
            raise ValueError(f"{self.name} returned a mask of shape {mask.shape} for a scan of {scan.pixels.shape}")
        used = self.threshold if threshold is None else float(threshold)
        return Prediction(probability.astype(np.float32), (mask > 0).astype(np.uint8), used)

    def colors(self, scan: PlanarScan | CTScan) -> NDArray[np.uint8]:
        """A picture's colors, (H, W, 3).

        Raises:
            InputError: if the scan is not a picture of 8 bits a channel.
        """
        if isinstance(scan, PlanarScan) and scan.colors is not None:
            return scan.colors
        if scan.format == "image":
            raise InputError(f"{scan.path}: has more than 8 bits a pixel, or several views; export one picture with 8")
        raise InputError(f"{scan.path}: {self.name} segments pictures in color; give a JPEG or PNG file")

    def record(self, threshold: float) -> dict[str, Any]:
        """What makes findings at that decision threshold, for ``result.json``."""
        return {
            "bundle": self.name,
            "version": self.metadata.get("version"),
            "weights_sha256": file_sha256(self.weights),
            "threshold": threshold,
            "device": str(self.device),
            "training_data": (self.provenance.get("datalist") or {}).get("name"),
            "simulated_patients_only": trained_on_simulated(self.provenance),
            "provenance": self.provenance,
        }


def on_file_grid(scan: PlanarScan | CTScan, values: NDArray) -> tuple[NDArray, NDArray[np.float64]]:
    """Values of a scan as displayed, in the order of the scan's file.

    Args:
        scan: the scan, or a label map that was read like one.
        values: (H, W, V), as displayed.

    Returns:
        The values with the file's own axes, and the file's affine; pictures and planar DICOM stay as displayed.

    Raises:
        ValueError: the values have another shape than the scan.
    """
    if values.shape != scan.pixels.shape:
        raise ValueError(f"values must have the scan's shape {scan.pixels.shape}, got {values.shape}")
    if isinstance(scan, CTScan):
        return from_display(values, scan.source_affine, scan.source_shape), scan.source_affine
    if scan.grid is not None:
        return scan.grid.from_display(values), scan.grid.affine
    return values, scan.affine


def find_device(name: str) -> torch.device:
    """The device of that name; "auto" is the first GPU, or the CPU where there is none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"there is no device {name!r} for PyTorch here; use --device cpu") from error
    return device


def checked_provenance(weights: Path) -> dict[str, Any]:
    """What training wrote beside the weights, with its network checked.

    Raises:
        InputError: the file is not JSON, or its ``network_def`` names anything but a network of
            `bonemets.networks.list_networks` with numbers, text, booleans, null and lists of them as arguments.
    """
    provenance = read_provenance(weights)
    if "network_def" not in provenance:
        return provenance
    path, network = Path(weights).with_suffix(".json"), provenance["network_def"]
    target = network.get("_target_") if isinstance(network, dict) else None
    if not _is_registered(target):
        raise InputError(f"{path}: network_def must name a network of bonemets as its _target_, got {target!r}")
    for name, value in network.items():
        if name != "_target_" and (name.startswith("_") or not _is_plain(value)):
            raise InputError(
                f"{path}: network_def: {name} must be a number, text, true, false, null or a list, got {value!r}"
            )
    return provenance


def _is_registered(target: Any) -> bool:
    """Whether a ``_target_`` is the class of a network that has a name."""
    found = pydoc.locate(target) if isinstance(target, str) and target.startswith(NETWORK_PACKAGE) else None
    # A name may stand for a network with some of its arguments given.
    return found is not None and any(found is getattr(network, "func", network) for network in NETWORKS.values())


def _is_plain(value: Any) -> bool:
    """Whether MONAI takes an argument as it is: "$…" would be evaluated, "@…" and "%…" looked up, objects built."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, str):
        return not any(mark in value for mark in "$@%")
    return value is None or isinstance(value, (bool, int, float))


def _root_cause(error: BaseException) -> str:
    """The message that the chain of errors began with: MONAI wraps it several times."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def _without_files(transforms: Compose) -> list[MapTransform]:
    """The transforms in their order, without those that load from a file or save to one."""
    return [t for t in transforms.flatten().transforms if not isinstance(t, (LoadImaged, SaveImaged))]


def _reads_with(transforms: Compose, kind: type) -> bool:
    loaders = [t for t in transforms.flatten().transforms if isinstance(t, LoadImaged)]
    return any(isinstance(reader, kind) for loader in loaders for reader in loader._loader.readers)


def _lesion_channel(pred: torch.Tensor) -> NDArray:
    """(C, H, W[, V]) → (H, W, V): the only channel, or the last one, which is the lesion's."""
    channel = np.asarray(pred[-1])
    return channel[..., None] if channel.ndim == 2 else channel
