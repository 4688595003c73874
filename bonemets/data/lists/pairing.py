"""Pairing images with the label maps of the same name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bonemets.data.adapters.base import Case, Problem, list_files, relative, stem_of
from bonemets.data.lists.patients import PatientRule
from bonemets.data.planar.geometry import view_from_name

# What annotation tools append to an image's name when they name its mask.
_LABEL_ENDING = re.compile(r"[_\-. ](?:masks?|labels?|seg|segm|segmentation|gt|groundtruth)$", re.IGNORECASE)


def without_label_ending(stem: str) -> str:
    """The name of the image that a label map belongs to: its own without ``_mask`` and the like."""
    return _LABEL_ENDING.sub("", stem)


def match_folders(
    image_folder: Path,
    label_folder: Path,
    source: Path,
    *,
    images: Iterable[Path] | None = None,
    image_stem: Callable[[str], str] = str,
    unlabeled: bool = False,
) -> tuple[list[tuple[Path, Path]], list[Problem]]:
    """Match the images of one folder with the label maps of another by their place in it, whatever their suffix.

    A label map may be called like its image or have ``_mask``, ``_label``, ``_seg``, … appended.

    Args:
        image_folder: folder of the images, with sub-folders.
        label_folder: folder of the label maps, with the same sub-folders.
        source: the data set's folder, for messages.
        images: the images, where they are not all of the folder's pictures and NIfTI files.
        image_stem: turns an image's name without suffix into the name that its label map has.
        unlabeled: whether an image may have no label map (it is then left out).

    Returns:
        The pairs, and a problem for every file that is left over or has a name twice.
    """
    problems: list[Problem] = []
    image_of: dict[str, Path] = {}
    for image in list_files(image_folder) if images is None else images:
        _claim(image_of, _key(image, image_folder, image_stem(stem_of(image))), image, source, problems)
    label_of: dict[str, Path] = {}
    for label in list_files(label_folder):
        key = _key(label, label_folder, stem_of(label))
        if key not in image_of:
            key = _key(label, label_folder, without_label_ending(stem_of(label)))
        _claim(label_of, key, label, source, problems)
    if not unlabeled:
        problems += [
            Problem(
                "pair",
                relative(image, source),
                f"has no mask called {key}; add it (an empty one if there is no lesion)",
            )
            for key, image in image_of.items()
            if key not in label_of
        ]
    problems += [
        Problem("pair", relative(label, source), f"is a mask without an image called {key}; add the image or remove it")
        for key, label in label_of.items()
        if key not in image_of
    ]
    return [(image, label_of[key]) for key, image in image_of.items() if key in label_of], problems


def plain_cases(pairs: Sequence[tuple[Path, Path]], patient_of: PatientRule, source: Path) -> list[Case]:
    """Cases whose image and label map are used as they are."""
    patient_of.see([image for image, _ in pairs])
    return [
        Case(
            image=image,
            patient=patient_of(image),
            label=label,
            name=converted_name(image, source),
            view=view_from_name(image.name) or "unknown",
        )
        for image, label in pairs
    ]


def converted_name(image: Path, source: Path) -> str:
    """The name of a case's converted files: the image's place in the data set, without suffix."""
    return _key(image, source if image.is_relative_to(source) else image.parent, stem_of(image))


def _key(file: Path, folder: Path, stem: str) -> str:
    return (file.parent.relative_to(folder) / stem).as_posix()


def _claim(taken: dict[str, Path], key: str, file: Path, source: Path, problems: list[Problem]) -> None:
    if key in taken:
        text = f"has the same name as {relative(taken[key], source)}; remove or rename one of them"
        problems.append(Problem("pair", relative(file, source), text))
    else:
        taken[key] = file
