"""Noise that MONAI lacks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import TransformBackends, convert_to_tensor


class RandSaltAndPepper(RandomizableTransform):
    """Salt-and-pepper noise: a share of the pixels becomes the largest or the smallest value, half of them each.

    Which pixels it hits is the same in all channels of an image.

    Args:
        prob: probability that an image gets noise.
        amount: largest share of the pixels that it hits; each image draws its own, from 0 to this.
        low: value of pepper.
        high: value of salt.

    Raises:
        ValueError: if `amount` is outside 0 to 1.
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, prob: float = 0.5, amount: float = 0.02, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__(prob)
        if not 0 <= amount <= 1:
            raise ValueError(f"amount must be between 0 and 1, got {amount}")
        self.amount = float(amount)
        self.low, self.high = float(low), float(high)
        self.draw: np.ndarray = np.empty(0)
        self.share = 0.0

    def randomize(self, data: NdarrayOrTensor) -> None:
        """Draw whether, how many, and which pixels of an image (C, H, W)."""
        super().randomize(None)
        if self._do_transform:
            self.share = float(self.R.uniform(0, self.amount))
            self.draw = self.R.random_sample(tuple(data.shape[1:])).astype(np.float32)

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """Add noise to an image, (C, H, W[, K])."""
        if randomize:
            self.randomize(img)
        result = convert_to_tensor(img, track_meta=True)
        if not self._do_transform:
            return result
        draw = torch.from_numpy(self.draw).to(result.device)
        result = torch.where(draw < self.share / 2, torch.full_like(result, self.low), result)
        return torch.where(draw >= 1 - self.share / 2, torch.full_like(result, self.high), result)


class RandSaltAndPepperd(RandomizableTransform, MapTransform):
    """Dictionary-based `RandSaltAndPepper`; the same pixels in the images under all keys.

    Args:
        keys: keys of the images.
        prob: see `RandSaltAndPepper`.
        amount: see `RandSaltAndPepper`.
        low: see `RandSaltAndPepper`.
        high: see `RandSaltAndPepper`.
        allow_missing_keys: whether a missing key is no error.
    """

    backend = RandSaltAndPepper.backend

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.5,
        amount: float = 0.02,
        low: float = 0.0,
        high: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.transform = RandSaltAndPepper(1.0, amount, low, high)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Any:
        """Seed this transform and the array version in it."""
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add noise to the images under the keys."""
        result = dict(data)
        self.randomize(None)
        first = self.first_key(result)
        if self._do_transform and first != ():
            self.transform.randomize(result[first])
            for key in self.key_iterator(result):
                result[key] = self.transform(result[key], randomize=False)
        return result
