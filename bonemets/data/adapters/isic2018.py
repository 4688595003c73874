"""ISIC 2018 task 1: lesion boundaries in dermoscopy, 2,594 training images.

Codella et al., "Skin lesion analysis toward melanoma detection 2018", arXiv:1902.03368; Tschandl et al., Scientific
Data 5:180161 (2018).

Layout, as the challenge's archives unpack::

    SOURCE/
      ISIC2018_Task1-2_Training_Input/ISIC_0000000.jpg
      ISIC2018_Task1_Training_GroundTruth/ISIC_0000000_segmentation.png
      ISIC2018_Task1-2_Validation_Input/    ISIC2018_Task1_Validation_GroundTruth/     optional
      ISIC2018_Task1-2_Test_Input/          ISIC2018_Task1_Test_GroundTruth/           optional
      metadata.csv                                                                     optional

The official validation and test images become the list's test part, told apart by the key ``subset``; the training
images are split into folds. ``metadata.csv`` (columns ``isic_id`` or ``image_id``, and ``patient_id`` or
``lesion_id``) keeps photographs of one patient or lesion together; without it, every image counts as a patient.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bonemets.data.adapters.base import IMAGE_SUFFIXES, Adapter, Collection, Options, find_folder, list_files
from bonemets.data.lists.pairing import match_folders, plain_cases
from bonemets.data.lists.patients import PatientRule

_PARTS = ("Training", "Validation", "Test")
METADATA = "metadata.csv"


def collect(source: Path, options: Options) -> Collection:
    """Pair the challenge's inputs with its ground truth."""
    metadata = source / METADATA
    folders = [source / f"ISIC2018_Task1-2_{part}_Input" for part in _PARTS]
    patients = PatientRule(source, options, table=metadata if metadata.is_file() else None, roots=folders)
    result = Collection()
    for part in _PARTS:
        inputs, truths = f"ISIC2018_Task1-2_{part}_Input", f"ISIC2018_Task1_{part}_GroundTruth"
        if part != "Training" and not (source / inputs).is_dir():
            continue
        image_folder = find_folder(source, (inputs,), f"{part.lower()} images")
        label_folder = find_folder(source, (truths,), f"masks of the {part.lower()} images")
        # The archives also hold superpixel pictures, attribution and licence files.
        images = [path for path in list_files(image_folder, IMAGE_SUFFIXES) if "superpixels" not in path.name]
        pairs, problems = match_folders(image_folder, label_folder, source, images=images)
        result.problems += problems
        result.cases += [
            replace(case, test=part != "Training", details={"subset": part.lower()})
            for case in plain_cases(pairs, patients, source)
        ]
    if patients.uses_default:
        result.notes.append("add metadata.csv to keep photographs of one lesion together")
    result.problems += patients.problems
    result.patient_rule = patients.rule
    return result


ADAPTER = Adapter(
    name="isic2018",
    title="ISIC 2018 task 1",
    modality="dermoscopy",
    collect=collect,
    reference="Codella et al., arXiv:1902.03368 (2019); Tschandl et al., Scientific Data 5:180161 (2018)",
    labels=("background", "skin lesion", "ignore"),
)
