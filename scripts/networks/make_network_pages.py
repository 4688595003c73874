"""Write docs/reference/networks: a page per network, its structure drawn from the code, published against our counts.

Run without arguments to write, with ``--check`` to fail if a page or figure differs from what the code says now.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from functools import partial
from pathlib import Path

import torch
from torch import nn

from bonemets.networks import create_network, list_networks, registry
from network_figure import draw
from network_tables import IMAGES, TABLES, Row

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference" / "networks"
NOTICE = (
    "<!-- Written by scripts/networks/make_network_pages.py; change the docstrings or the script, not this file. -->"
)


def build(name: str, **arguments: object) -> nn.Module:
    """Build a network on shapes alone."""
    with torch.device("meta"):
        return create_network(name, **arguments)


def parameters(network: nn.Module) -> int:
    """Count all parameters, frozen ones included."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: nn.Module, channels: int, side: int) -> int:
    """Count multiplications in Conv2d, ConvTranspose2d and Linear layers for one image; biases do not count."""
    total = 0

    def add(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += module.weight[0].numel() * output[0].numel()
        elif isinstance(module, nn.ConvTranspose2d):
            total += module.weight[0].numel() * inputs[0][0].numel()
        elif isinstance(module, nn.Linear):
            total += module.in_features * output[0].numel()

    handles = [module.register_forward_hook(add) for module in network.modules()]
    with torch.no_grad():
        network.eval()(torch.zeros(1, channels, side, side, device="meta"))
    for handle in handles:
        handle.remove()
    return total


def markdown(text: str) -> str:
    """Turn a docstring's reStructuredText into Markdown, as far as ours need it."""
    # A table stays as it is; everywhere else literals and references become Markdown's.
    table = re.search(r"(?ms)^=+ [= ]+$.*^=+ [= ]+$", text)
    if table:
        before, after = text[: table.start()], text[table.end() :]
        return f"{markdown(before)}\n\n```text\n{table.group()}\n```\n\n{markdown(after)}".strip()
    text = re.sub(r":class:`(\w+)`", r"`\1`", text).replace("``", "`")
    lines: list[str] = []
    literal = False
    for line in text.split("\n"):
        if literal and line.strip() and not line.startswith(" "):
            lines += ["```", ""]
            literal = False
        lines.append(line[:-1] if line.endswith("::") else line)
        if line.endswith("::"):
            lines += ["", "```text"]
            literal = True
    if literal:
        lines.append("```")
    joined = re.sub(r"```text\n\n", "```text\n", "\n".join(lines))
    return re.sub(r"\s+```(?=\n|$)", "\n```", joined).strip()


def sections(network: type[nn.Module]) -> dict[str, str]:
    """Split a class's docstring into its description and its named sections."""
    parts = re.split(r"^(Deviations|Args|Raises|Returns):\n", inspect.getdoc(network) or "", flags=re.MULTILINE)
    found = {"Description": parts[0]}
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        found[title] = inspect.cleandoc("\n" + body)
    return found


def arguments_table(network: type[nn.Module], text: str, fixed: dict[str, object]) -> list[str]:
    """List the constructor's arguments with defaults and what the docstring says."""
    meaning: dict[str, str] = {}
    for entry in re.split(r"\n(?=\w+: )", text):
        name, _, rest = entry.partition(": ")
        meaning[name] = " ".join(rest.split()).replace("``", "`")
    lines = ["| argument | default | meaning |", "|---|---|---|"]
    for name, parameter in inspect.signature(network).parameters.items():
        default = fixed.get(name, parameter.default)
        shown = meaning.get(name, "").replace("|", "\\|")
        lines.append(f"| `{name}` | `{default!r}` | {shown} |")
    return lines


def compare(published: int | str | None, count: int) -> str:
    """Say how our count stands to a published one."""
    if published is None:
        return "none published"
    if isinstance(published, int):
        difference = count - published
        return "equal" if difference == 0 else f"{difference:+,} ({difference / published:+.3%})"
    kilo = re.match(r"([\d.]+) KB", published)
    return "equal" if kilo and f"{count / 1024:.2f}" == kilo.group(1) else "see the remark"


def counts_table(name: str, channels: int, side: int) -> list[str]:
    """List published and our parameters, and our multiply-adds, row by row."""
    rows = TABLES.get(name, []) or [Row("default")]
    lines = [
        f"| row | arguments | published | ours | difference | multiply-adds at {side}² | remark |",
        "|---|---|---:|---:|---|---:|---|",
    ]
    for row in rows:
        network = build(name, **row.arguments)
        count = parameters(network)
        given = int(row.arguments.get("in_channels", channels))
        published = f"{row.published:,}" if isinstance(row.published, int) else (row.published or "–")
        arguments = ", ".join(f"{key}={value!r}" for key, value in row.arguments.items())
        lines.append(
            f"| {row.label} | {f'`{arguments}`' if arguments else 'defaults'} | {published} | {count:,} | "
            f"{compare(row.published, count)} | {multiply_adds(network, given, side) / 1e9:.3f} G | {row.remark} |"
        )
    return lines


def blocks(name: str) -> list[str]:
    """Describe the network's building blocks that have equations or deviations."""
    lines: list[str] = []
    for kind in dict.fromkeys(type(module) for module in build(name).modules()):
        text = inspect.getdoc(kind) or ""
        if kind.__module__.startswith("bonemets.networks.blocks.") and ("::" in text or "Deviations:" in text):
            parts = sections(kind)
            lines += [f"### {kind.__name__}", "", markdown(parts["Description"]), ""]
            if "Deviations" in parts:
                lines += ["Deviations:", "", markdown(parts["Deviations"]), ""]
    return ["## Blocks", "", *lines] if lines else []


def page(name: str) -> dict[str, str]:
    """Make a network's page and figure.

    Returns:
        File names and their text.
    """
    channels, side = IMAGES.get(name, (1, 256))
    entry = registry.NETWORKS[name]
    fixed = entry.keywords if isinstance(entry, partial) else {}
    network = entry.func if isinstance(entry, partial) else entry
    assert isinstance(network, type)
    parts = sections(network)
    title = name if fixed else network.__name__
    preset = f"`{network.__name__}({', '.join(f'{key}={value!r}' for key, value in fixed.items())})`"
    lines = [f"# {title}", "", NOTICE, ""]
    lines += [f"`create_network({name!r})` is {preset}.", ""] if fixed else [f"`create_network({name!r})`", ""]
    lines += [markdown(parts["Description"]), "", "## Structure", ""]
    lines += [
        f"![Structure of {title}]({name}.svg)",
        "",
        f"Drawn from the code for an image of {side}×{side}: boxes are parts with parameters, with their name in the "
        "network, what they are, and channels@height of what comes out; rows are resolutions. Orange: context and "
        "attention; green: re-sampling with weights; violet: logits.",
        "",
        "## Counts",
        "",
        *counts_table(name, channels, side),
        "",
    ]
    if "Deviations" in parts:
        lines += ["## Deviations", "", markdown(parts["Deviations"]), ""]
    lines += blocks(name)
    lines += ["## Arguments", "", *arguments_table(network, parts.get("Args", ""), fixed), ""]
    figure = draw(build(name), channels, side, f"{title}, {channels}@{side}")
    return {f"{name}.md": "\n".join(lines), f"{name}.svg": figure}


def index() -> str:
    """Make the list of all networks."""
    lines = ["# Networks", "", NOTICE, "", "The five papers' networks first, then those they are compared with.", ""]
    lines += ["| name | network | parameters | multiply-adds |", "|---|---|---:|---:|"]
    for name in list_networks():
        channels, side = IMAGES.get(name, (1, 256))
        network = build(name)
        work = multiply_adds(network, channels, side) / 1e9
        kind = type(network).__name__
        count = parameters(network)
        lines.append(f"| [`{name}`]({name}.md) | {kind} | {count:,} | {work:.2f} G ({channels}@{side}) |")
    return "\n".join([*lines, ""])


def main() -> int:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file differs")
    check = parser.parse_args().check
    files = {"README.md": index()}
    for name in list_networks():
        files |= page(name)
    present = {path.name for path in FOLDER.glob("*")} if FOLDER.is_dir() else set()
    stale = sorted(present - set(files))
    wrong = [name for name, text in files.items() if name not in present or (FOLDER / name).read_text("utf-8") != text]
    if check:
        for name in sorted({*wrong, *stale}):
            print(
                f"docs/reference/networks/{name} differs; run `python scripts/networks/make_network_pages.py`",
                file=sys.stderr,
            )
        return 1 if wrong or stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in wrong:
        temporary = FOLDER / f".{name}"
        temporary.write_text(files[name], "utf-8")
        temporary.replace(FOLDER / name)
    for name in stale:
        (FOLDER / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
