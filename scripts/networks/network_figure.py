"""Draw a network's structure from its code: run it on shapes alone and record which stage feeds which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from bonemets.networks.blocks.context.parallel_branches import ParallelBranches

BOX_WIDTH, BOX_HEIGHT = 132, 46
GAP_Y = 18
MARGIN = 60
# Encoder and decoder stages of convolutions, context and attention, re-sampling with weights, output.
COLORS = {"convolution": "#dbe9f6", "context": "#fde3c4", "resampling": "#dff0d8", "head": "#e8e0f0"}
_CONTEXT: tuple[str, ...] = (
    "ASPP",
    "FSM",
    "SPPM",
    "PSCAN",
    "ViT",
    "NonLocal",
    "DAC",
    "RMP",
    "CBAM",
    "ImagePooling",
    "MultiPooling",
)
_CONTEXT += ("TransformerLayer", "Attention", "SummedASPP", "ShiftedMLP")
# Containers of the compared networks whose parts are more telling than they are; DynUNet's skip layers hold no parts of
# their own.
_OPENED = ("Padded", "_FirstOf", "BasicUNetPlusPlus", "SegResNet", "DynUNet", "AttentionUnet", "AttentionLayer")
_PASSED_OVER = ("DynUNetSkipLayer",)
_SHORT = {"ChannelSELayer": "SE", "ResNetEncoder": "ResNet", "MobileNetV2Encoder": "MobileNetV2"}
_RESAMPLING = ("DySample", "CARAFE", "ConvTranspose", "DualPooling", "PatchEmbed")


@dataclass
class Stage:
    """One box: a part of the network that has parameters."""

    name: str
    kind: str
    shapes: list[tuple[int, int, int]] = field(default_factory=list)
    sources: set[int] = field(default_factory=set)
    row: int = 0
    column: int = 0
    level: int = 0


def describe(module: nn.Module) -> str:
    """Name what a stage is made of, in a few words."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        size = f"{module.kernel_size[0]}×{module.kernel_size[1]}"
        return f"transposed conv {size}" if isinstance(module, nn.ConvTranspose2d) else f"conv {size}"
    if isinstance(module, nn.Sequential):
        kinds: list[str] = []
        for part in module:
            kind = describe(part)
            if any(True for _ in part.parameters()) and "BatchNorm" not in kind:
                kinds.append(kind)
        once = list(dict.fromkeys(kinds))
        return " + ".join(f"{kinds.count(kind)} {kind}" if kinds.count(kind) > 1 else kind for kind in once)
    kind = type(module).__name__
    return _SHORT.get(kind, kind)


def stages_of(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts to draw: the network's children, with lists and parallel branches opened."""
    for name, child in network.named_children():
        path = f"{prefix}{name}"
        kinds = {kind.__name__ for kind in type(child).__mro__}
        nested = isinstance(child, nn.Sequential) and any(type(m).__name__ == "AttentionLayer" for m in child.modules())
        if nested or isinstance(child, nn.ModuleList | ParallelBranches) or kinds & set(_OPENED):
            yield from stages_of(child, "" if name in ("network", "model", "submodule") else f"{path}.")
        elif kinds & set(_PASSED_OVER) or not any(True for _ in child.parameters()):
            continue
        else:
            yield path, child


class _Recorder(TorchFunctionMode):
    """Follow which stages each tensor comes from, through concatenations, pools, and interpolations."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.stages: list[Stage] = []
        self.origin: dict[int, set[int]] = {}
        self.alive: list[torch.Tensor] = []
        self.inside = 0
        self.current: list[int] = []
        self.handles: list[Any] = []
        for name, module in stages_of(network):
            self.handles.append(module.register_forward_pre_hook(self._enter(name, module), with_kwargs=True))
            self.handles.append(module.register_forward_hook(self._leave))

    def _tensors(self, value: Any) -> list[torch.Tensor]:
        return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]

    def _mark(self, value: Any, sources: set[int]) -> None:
        for tensor in self._tensors(value):
            self.alive.append(tensor)
            self.origin[id(tensor)] = sources

    def _sources(self, value: Any) -> set[int]:
        return set().union(*(self.origin.get(id(tensor), set()) for tensor in self._tensors(value)))

    def _enter(self, name: str, module: nn.Module) -> Any:
        def hook(_: nn.Module, *inputs: Any) -> None:
            self.inside += 1
            self.current.append(len(self.stages))
            self.stages.append(Stage(name, describe(module), sources=self._sources(inputs)))

        return hook

    def _leave(self, _: nn.Module, __: Any, output: Any) -> None:
        self.inside -= 1
        index = self.current.pop()
        shapes = [(t.shape[1], t.shape[2], t.shape[3]) for t in self._tensors(output) if t.ndim == 4]
        self.stages[index].shapes = shapes
        self._mark(output, {index})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the function; outside of stages its results come from wherever its arguments come from."""
        output = func(*args, **(kwargs or {}))
        if not self.inside:
            sources = self._sources((args, kwargs))
            if sources:
                self._mark(output, sources)
        return output


def record(network: nn.Module, channels: int, side: int) -> list[Stage]:
    """Run a network that lives on the meta device and return its stages in the order of execution."""
    recorder = _Recorder(network)
    image = torch.zeros(2, channels, side, side, device="meta")
    recorder.stages.append(Stage("image", "input", [(channels, side, side)]))
    recorder.origin[id(image)] = {0}
    with recorder:
        network.train()(image)
    for handle in recorder.handles:
        handle.remove()
    # A transformer's layers work on tokens: they keep the map's shape, and a run of them is one box.
    return _merge_token_layers(recorder.stages)


def _merge_token_layers(stages: list[Stage]) -> list[Stage]:
    kept: list[Stage] = []
    moved: dict[int, int] = {}
    for index, stage in enumerate(stages):
        sources = {moved[source] for source in stage.sources}
        if not stage.shapes:
            shape = kept[max(sources)].shapes if sources else kept[-1].shapes
            if kept[-1].kind.endswith(stage.kind) or stage.kind == "LayerNorm":
                moved[index] = len(kept) - 1
                continue
            stage.shapes = shape
            stage.name = stage.name.split(".")[0]
        stage.sources = sources
        moved[index] = len(kept)
        kept.append(stage)
    return kept


def place(stages: list[Stage], side: int) -> tuple[dict[int, int], int]:
    """Give every stage a row (its resolution), a column, and a place among others in that cell.

    Returns:
        How many boxes each row must hold above each other, and the number of columns.
    """
    taken: dict[tuple[int, int], list[int]] = {}
    ancestors: list[set[int]] = []
    for stage in stages:
        ancestors.append(stage.sources.union(*(ancestors[source] for source in stage.sources)))
        smallest = stage.shapes[-1][1]
        stage.row = max(0, (side // max(smallest, 1)).bit_length() - 1)
        for source in stage.sources:
            before = stages[source]
            aside = before.row == stage.row or before.kind == "input"
            stage.column = max(stage.column, before.column + aside)
        # Siblings share a cell; what comes later on the same path moves on.
        while ancestors[-1] & set(taken.get((stage.row, stage.column), [])):
            stage.column += 1
        cell = taken.setdefault((stage.row, stage.column), [])
        stage.level = len(cell)
        cell.append(len(ancestors) - 1)
    heights: dict[int, int] = {}
    for (row, _), cell in taken.items():
        heights[row] = max(heights.get(row, 1), len(cell))
    return heights, max(stage.column for stage in stages) + 1


def color_of(stage: Stage) -> str:
    """Color by what a stage does."""
    if stage.kind == "input":
        return "#eeeeee"
    if stage.name.startswith(("head", "final_conv", "conv_final", "output_block")):
        return COLORS["head"]
    if any(word in stage.kind for word in _CONTEXT):
        return COLORS["context"]
    if any(word in stage.kind for word in _RESAMPLING) or stage.kind.startswith("transposed"):
        return COLORS["resampling"]
    return COLORS["convolution"]


def draw(network: nn.Module, channels: int, side: int, title: str) -> str:
    """Return the figure as the text of an SVG file.

    Args:
        network: built on the meta device.
        channels: channels of the image.
        side: height and width of the image, in pixels.
        title: for readers who cannot see it.

    Returns:
        The SVG, the same text for the same code.
    """
    stages = record(network, channels, side)
    heights, columns = place(stages, side)
    tops: dict[int, int] = {}
    y = 48
    for row in sorted(heights):
        tops[row] = y
        y += heights[row] * (BOX_HEIGHT + GAP_Y) + GAP_Y
    across = max(sum(stages[source].row != stage.row for source in stage.sources) for stage in stages)
    gap = 36 + 30 * max(0, across - 2)
    width, height = MARGIN + columns * (BOX_WIDTH + gap), y

    def corner(stage: Stage) -> tuple[int, int]:
        spare = heights[stage.row] - sum(s.row == stage.row and s.column == stage.column for s in stages)
        top = tops[stage.row] + stage.level * (BOX_HEIGHT + GAP_Y) + spare * (BOX_HEIGHT + GAP_Y) // 2
        return MARGIN + stage.column * (BOX_WIDTH + gap), top

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif">',
        f"<title>{escape(title)}</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="8" y="20" font-size="13" fill="#333">{escape(title)}</text>',
    ]
    for row, top in tops.items():
        middle = top + (heights[row] * (BOX_HEIGHT + GAP_Y) - GAP_Y) // 2
        scale = "1" if row == 0 else f"1/{2**row}"
        lines.append(f'<text x="8" y="{middle + 4}" font-size="12" fill="#777">{scale}</text>')
    for stage in stages:
        detours = 0
        for source in sorted(stage.sources):
            start, end = corner(stages[source]), corner(stage)
            others = [corner(other) for other in stages if other is not stage and other is not stages[source]]
            lane = tops[stage.row] - 8 - 5 * detours
            path, detour = _route(start, end, others, lane, detours)
            detours += detour
            lines.append(f'<path d="{path}" fill="none" stroke="#555" stroke-width="1.1" marker-end="url(#tip)"/>')
    for stage in stages:
        lines += _box(stage, *corner(stage))
    return "\n".join([*lines, "</svg>", ""])


def _route(
    start: tuple[int, int], end: tuple[int, int], others: list[tuple[int, int]], lane: int, detours: int
) -> tuple[str, bool]:
    """Lead an arrow from box to box; around, if another box is in the way. Corners are upper left."""
    (x0, y0), (x1, y1) = start, end
    half = BOX_HEIGHT // 2
    low, high = min(y0, y1), max(y0, y1)
    if x0 == x1:
        if any(x == x0 and low < y < high for x, y in others):
            aside = x0 - 10 - 5 * detours
            return f"M{x0} {y0 + half}H{aside}V{y1 + half}H{x1}", True
        x = x0 + BOX_WIDTH // 2
        return (f"M{x} {y0 + BOX_HEIGHT}V{y1}" if y1 > y0 else f"M{x} {y0}V{y1 + BOX_HEIGHT}"), False
    right = x0 + BOX_WIDTH
    if any(x0 < x < x1 and low - BOX_HEIGHT < y < high + BOX_HEIGHT for x, y in others):
        x = x1 + BOX_WIDTH // 2 + 16 + 10 * detours
        return f"M{right} {y0 + half}h{8 + 4 * detours}V{lane}H{x}V{y1}", True
    bend = max(18, (x1 - right) // 3)
    return f"M{right} {y0 + half}C{right + bend} {y0 + half} {x1 - bend} {y1 + half} {x1} {y1 + half}", False


def _box(stage: Stage, x: int, y: int) -> list[str]:
    kind = stage.kind if len(stage.kind) <= 25 else stage.kind[:24] + "…"
    shape = "  ".join(f"{channels}@{rows}" for channels, rows, _ in stage.shapes)
    size = 11 if len(shape) < 22 else 8 if len(shape) < 36 else 7
    center = x + BOX_WIDTH // 2
    return [
        f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="4" fill="{color_of(stage)}" '
        'stroke="#666" stroke-width="0.8"/>',
        f'<text x="{center}" y="{y + 13}" font-size="9" fill="#666" text-anchor="middle">{escape(stage.name)}</text>',
        f'<text x="{center}" y="{y + 26}" font-size="10" fill="#111" text-anchor="middle">{escape(kind)}</text>',
        f'<text x="{center}" y="{y + 40}" font-size="{size}" font-weight="bold" fill="#111" text-anchor="middle">'
        f"{escape(shape)}</text>",
    ]
