"""Layers as slow, obvious numpy loops on one image (C, H, W), and a way to give a module arbitrary weights."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

CLOSE = {"atol": 1e-9, "rtol": 1e-9}  # of float64


def randomized(module: nn.Module, seed: int = 0) -> nn.Module:
    """Evaluation mode, float64, and random numbers everywhere, in the normalizations' statistics too."""
    generator = torch.Generator().manual_seed(seed)
    module.double().eval()
    for parameter in module.parameters():
        parameter.data = 0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean = 0.3 * torch.randn(layer.num_features, generator=generator, dtype=torch.float64)
            layer.running_var = 0.5 + torch.rand(layer.num_features, generator=generator, dtype=torch.float64)
    return module


def image(channels: int, height: int, width: int, seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(channels, height, width))


def run(module, *images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(*(torch.from_numpy(x)[None] for x in images))[0].numpy()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis):
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def relu(x):
    return np.maximum(x, 0)


def gelu(x):
    return np.vectorize(lambda value: 0.5 * value * (1 + math.erf(value / math.sqrt(2))))(x)


def conv(x: np.ndarray, layer: nn.Conv2d) -> np.ndarray:
    """Stride 1, any kernel, dilation and grouping, zeros outside."""
    weight = layer.weight.detach().numpy()
    bias = layer.bias.detach().numpy() if layer.bias is not None else np.zeros(len(weight))
    (pad_rows, pad_columns), (step_rows, step_columns) = layer.padding, layer.dilation
    per_group = len(weight) // layer.groups
    _, height, width = x.shape
    out = np.zeros((len(weight), height, width))
    for o in range(len(weight)):
        first = (o // per_group) * weight.shape[1]
        for i in range(height):
            for j in range(width):
                total = bias[o]
                for c in range(weight.shape[1]):
                    for a in range(weight.shape[2]):
                        for b in range(weight.shape[3]):
                            row, column = i + a * step_rows - pad_rows, j + b * step_columns - pad_columns
                            if 0 <= row < height and 0 <= column < width:
                                total += weight[o, c, a, b] * x[first + c, row, column]
                out[o, i, j] = total
    return out


def linear(x: np.ndarray, layer) -> np.ndarray:
    """The last axis through a Linear layer, or a 1×1 Conv2d read as one."""
    weight = layer.weight.detach().numpy().reshape(layer.weight.shape[0], -1)
    out = x @ weight.T
    return out + layer.bias.detach().numpy() if layer.bias is not None else out


def batch_norm(x: np.ndarray, layer) -> np.ndarray:
    shape = (-1,) + (1,) * (x.ndim - 1)
    mean, variance = layer.running_mean.numpy().reshape(shape), layer.running_var.numpy().reshape(shape)
    scale, shift = layer.weight.detach().numpy().reshape(shape), layer.bias.detach().numpy().reshape(shape)
    return (x - mean) / np.sqrt(variance + layer.eps) * scale + shift


def layer_norm(x: np.ndarray, layer) -> np.ndarray:
    """Over the last axis."""
    mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + layer.eps) * layer.weight.detach().numpy() + layer.bias.detach().numpy()


def conv_bn_relu(x: np.ndarray, unit) -> np.ndarray:
    out = batch_norm(conv(x, unit.conv), unit.norm)
    return relu(out) if isinstance(unit.act, nn.ReLU) else out


def pool(x: np.ndarray, kernel: int, stride: int, padding: int = 0, reduce=np.max) -> np.ndarray:
    channels, height, width = x.shape
    rows = (height + 2 * padding - kernel) // stride + 1
    columns = (width + 2 * padding - kernel) // stride + 1
    out = np.zeros((channels, rows, columns))
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride - padding, j * stride - padding
            window = x[:, max(top, 0) : top + kernel, max(left, 0) : left + kernel]
            out[:, i, j] = reduce(window, axis=(1, 2))
    return out


def read(x: np.ndarray, row: float, column: float) -> np.ndarray:
    """Bilinear value of every channel at a fractional pixel; beyond the border the border's value."""
    _, height, width = x.shape
    row, column = min(max(row, 0.0), height - 1.0), min(max(column, 0.0), width - 1.0)
    i, j = int(row), int(column)
    below, right = min(i + 1, height - 1), min(j + 1, width - 1)
    a, b = row - i, column - j
    top = (1 - b) * x[:, i, j] + b * x[:, i, right]
    return (1 - a) * top + a * ((1 - b) * x[:, below, j] + b * x[:, below, right])


def resize(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, corners not aligned."""
    out = np.zeros((len(x), height, width))
    for i in range(height):
        for j in range(width):
            row = (i + 0.5) * x.shape[1] / height - 0.5
            column = (j + 0.5) * x.shape[2] / width - 0.5
            out[:, i, j] = read(x, row, column)
    return out


def transposed_conv(x, layer):
    """Kernel equal to stride, full or depthwise."""
    weight = layer.weight.detach().numpy()
    s = layer.stride[0]
    out = np.zeros((layer.out_channels, x.shape[1] * s, x.shape[2] * s))
    for o in range(layer.out_channels):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                given = x[:, i // s, j // s]
                if layer.groups > 1:
                    out[o, i, j] = given[o] * weight[o, 0, i % s, j % s]
                else:
                    out[o, i, j] = given @ weight[:, o, i % s, j % s]
    return out if layer.bias is None else out + layer.bias.detach().numpy()[:, None, None]
