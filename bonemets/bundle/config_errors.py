"""Mistakes in a bundle's configuration, told in a line or two in place of MONAI's page of traceback.

`explain` finds the id, its file and the cause in what MONAI raised; `find_mistyped` finds what MONAI accepts without a
word. `bonemets.bundle.short_errors` applies both to MONAI's command line.
"""

from __future__ import annotations

import copy
import difflib
import inspect
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from pydoc import locate
from types import FrameType, TracebackType
from typing import Any

import yaml
from monai.bundle import ConfigComponent, ConfigParser, ConfigWorkflow, run, run_workflow
from monai.bundle.utils import merge_kv
from monai.handlers import CheckpointLoader
from monai.utils import ensure_tuple

from bonemets.errors import InputError

TRACEBACK_VARIABLE = "BONEMETS_TRACEBACK"
# What MONAI itself looks for at the top of a configuration.
PHASES = ("initialize", "run", "training", "evaluating", "inferring", "finalize")
SPECIAL = ("_meta_", "imports", *PHASES, "save_execute_config")


@dataclass(frozen=True)
class Command:
    """The configuration files and overrides that the command line gave."""

    files: tuple[str, ...] = ()
    overrides: dict[str, Any] = field(default_factory=dict)

    def steps(self) -> Iterator[tuple[str, dict[str, Any], ConfigParser, ConfigParser]]:
        """Each file in turn: its name, its content, and the configuration before and after it is merged."""
        before = ConfigParser(config={})
        for file in self.files:
            content = _content(file)
            after = ConfigParser(config=copy.deepcopy(before.get()))
            for key, value in copy.deepcopy(content).items():
                merge_kv(after, key, value)
            yield file, content, before, after
            before = after

    def where(self, id: str) -> str:
        """Where an id got its value, as " (in FILE)"; empty if unknown."""
        if id.split("::")[0] in self.overrides or id in self.overrides:
            return f" (--{id.split('::')[0]} on the command line)"
        found = ""
        for file, _, before, after in self.steps():
            if id in after and (id not in before or before.get(id) != after.get(id)):
                found = f" (in {file})"
        return found


@cache
def _content(file: str) -> dict[str, Any]:
    """What a file says; read once, since PyYAML takes 0.2 s for it."""
    return ConfigParser.load_config_file(file)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as "; did you mean 'epochs'?", or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f"; did you mean {near[0]!r}?" if near else ""


def find_mistyped(command: Command, parser: ConfigParser) -> str | None:
    """A setting or a key of an overlay that nothing uses: MONAI adds it to the configuration without a word.

    Args:
        command: the files and overrides.
        parser: the configuration that they make together.
    """
    used = set(re.findall(r"[@%](\w+(?:::\w+)*)", json.dumps(parser.get(), default=str)))
    tops = {id.split("::")[0] for id in used}
    known: set[str] = set(SPECIAL)
    merged = ConfigParser(config={})
    for file, content, before, merged in command.steps():
        for key in content if before.get() else ():
            id = key.removeprefix("+").replace("#", "::")
            if "::" not in id and id not in known | tops and nearest(id, known):
                return f"{file}: nothing uses {id!r}{nearest(id, known)}"
            if key.startswith("+") and "::" in id and id not in before:
                parent, _, name = id.rpartition("::")
                return f"{file}: there is no {id!r} to add to{nearest(name, before.get(parent) or ())}"
            if (hint := _nested_mistake(id, before, used)) is not None:
                return f"{file}: nothing uses {id!r}{hint}"
        known |= set(merged.get())
    for key in command.overrides:
        id = key.replace("#", "::")
        top = id.split("::")[0]
        if top not in known | tops:
            return f"there is no setting --{top}{nearest(top, known) or _other_file(top, command)}"
        if (hint := _nested_mistake(id, merged, used)) is not None:
            return f"nothing uses --{key}{hint}"
    return None


def _nested_mistake(id: str, before: ConfigParser, used: set[str]) -> str | None:
    """The hint about an id such as ``train::trainer::max_epoch`` that would be added and that nothing uses.

    Args:
        id: what an overlay or the command line sets.
        before: the configuration that it is added to.
        used: the ids that something refers to.

    Returns:
        None if the id is there, or is new but of use: an argument of its component's class, or part of what is used as
        a whole; else a hint, which may be empty.
    """
    parent, _, name = id.rpartition("::")
    if not parent or id in before or parent not in before or not isinstance(section := before.get(parent), dict):
        return None
    if "_target_" in section:
        arguments = _arguments(section["_target_"])
        if name.startswith("_") or name in arguments or not arguments:
            return None
        return nearest(name, [*section, *arguments])
    if any(one == id or one.startswith(f"{id}::") for one in used):
        return None
    parts = id.split("::")
    for end in range(1, len(parts)):
        above = "::".join(parts[:end])
        if above in used or (isinstance(before.get(above), dict) and "_target_" in before.get(above)):
            return None
    return nearest(name, section) or nearest_id(id, before)


def nearest_id(id: str, parser: ConfigParser) -> str:
    """A hint at the id of a configuration that ends like another one, or is spelled almost like it; or nothing."""
    known = list(_ids(parser.get()))
    ending = [one for one in known if one.endswith(f"::{id}")]
    return f"; did you mean {min(ending, key=len)!r}?" if ending else nearest(id, known)


def _ids(config: Any, prefix: str = "") -> Iterator[str]:
    """Every id of a configuration, such as ``train`` and ``train::trainer``."""
    for key, value in config.items() if isinstance(config, dict) else ():
        yield f"{prefix}{key}"
        yield from _ids(value, f"{prefix}{key}::")


def _other_file(override: str, command: Command) -> str:
    """Which overlay would have a setting, if one lies beside the files that were given."""
    for path in sorted(Path(command.files[0]).parent.glob("*.yaml")) if command.files else ():
        if re.search(rf"^{re.escape(override)}:", path.read_text("utf-8"), re.MULTILINE):
            return f"; {path} has it: add that file to --config_file"
    return "; the settings are at the top of the configuration"


def explain(error: BaseException, command: Command) -> str | None:
    """What is wrong in the configuration, in one line; None if the error is of another kind.

    Args:
        error: what MONAI raised.
        command: the files and overrides.
    """
    chain = list(_causes(error))
    for one in chain:
        if isinstance(one, InputError):
            return str(one)
    frames = [frame for one in reversed(chain) for frame in _frames(one.__traceback__)]
    items = [frame for one in reversed(chain) for frame in _frames(one.__traceback__, "_resolve_one_item")[-1:]]
    if match := re.search(r"run ID '(.+?)' doesn't exist", str(chain[-1])):
        given = [frame.f_locals["self"].parser for frame in frames if "self" in frame.f_locals]
        return f"there is no run id {match[1]!r}{nearest(match[1], [id for id in PHASES if id in given[-1]])}"
    if not items:
        reading = any(frame.f_code.co_name == "create_workflow" for frame in frames)
        return _unreadable(chain[-1], frames) if reading else None
    id = str(items[0].f_locals["id"])
    last = _frames(chain[-1].__traceback__)
    if id.split("::")[0] in PHASES and last and last[-1].f_code.co_filename != "<string>":
        # What went wrong while the bundle ran is no mistake in its configuration: the traceback is wanted. Weights that
        # are not there or belong to another network are a mistake in the command.
        return _missing(id, chain, items[0]) or _weights(chain[-1], frames)
    return _missing(id, chain, items[0], command) or f"{id}{command.where(id)}: {_reason(chain)}"


def _missing(id: str, chain: list[BaseException], item: FrameType, command: Command | None = None) -> str | None:
    """The text for a reference to an id that does not exist, or for a `_target_` that cannot be found."""
    command = command or Command()
    for one in chain:
        if match := re.search(r"referring item `@(.+?)` is not defined", str(one)):
            hint = nearest(match[1], item.f_locals["self"].items)
            return f"{id}{command.where(id)} refers to '@{match[1]}', which is not defined{hint}"
        if match := re.search(r"Cannot locate class or function path: '(.+?)'", str(one)):
            return f"{id}{command.where(id)}: there is no class or function {match[1]!r}{_nearest_target(match[1])}"
    return None


def _weights(cause: BaseException, frames: list[FrameType]) -> str | None:
    """The text for a weights file that MONAI's loader cannot load."""
    loaders = [frame.f_locals["self"] for frame in frames if isinstance(frame.f_locals.get("self"), CheckpointLoader)]
    if not loaders:
        return None
    path = loaders[0].load_path
    if isinstance(cause, FileNotFoundError):
        return f"{path}: there is no such weights file; train first, or name one with --ckpt_path"
    if "loading state_dict" in str(cause):
        return f"{path} does not fit the network of this configuration: give the overlays that it was trained with"
    return None


def _nearest_target(target: str) -> str:
    module, _, name = target.rpartition(".")
    if module:
        return nearest(name, dir(locate(module)) if locate(module) else ())
    from monai import data, handlers, inferers, losses, transforms
    from monai.networks import nets

    rooms = (data, handlers, inferers, losses, nets, transforms)
    return nearest(name, (known for room in rooms for known in dir(room)))


def _reason(chain: list[BaseException]) -> str:
    """What the last cause says, preceded by the component or expression that it happened in."""
    cause = chain[-1]
    for one in reversed(chain):
        if match := re.match(r"Failed to instantiate component '(.+?)' with keywords: (.*)", str(one)):
            unknown = re.search(r"unexpected keyword argument '(\w+)'", str(cause))
            if unknown and unknown[1] in match[2].split(","):
                return f"{match[1]} has no argument {unknown[1]!r}{nearest(unknown[1], _arguments(match[1]))}"
            return f"{match[1]}: {_one_line(cause)}"
        if match := re.match(r"Failed to evaluate ConfigExpression: *\n?(.*)", str(one), re.DOTALL):
            return f"{' '.join(match[1].split())[:200]}: {_one_line(cause)}"
    return _one_line(cause)


def _arguments(target: str) -> list[str]:
    """The arguments of a ``_target_``; none where they are not known, or where it takes any."""
    component: Any = ConfigComponent({"_target_": target}).resolve_module_name() if isinstance(target, str) else None
    component = locate(component) if isinstance(component, str) else component
    try:
        parameters = inspect.signature(component).parameters.values()
    except (TypeError, ValueError):
        return []
    return [] if any(one.kind is one.VAR_KEYWORD for one in parameters) else [one.name for one in parameters]


def _unreadable(cause: BaseException, frames: list[FrameType]) -> str:
    """The text for files that cannot be read or merged; only ``bonemets.bundle`` sees these."""
    values = {name: frame.f_locals[name] for frame in frames for name in ("i", "k") if name in frame.f_locals}
    if isinstance(cause, yaml.MarkedYAMLError) and cause.problem_mark:
        mark = cause.problem_mark
        return f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}: {cause.problem}"
    if isinstance(cause, FileNotFoundError) and (match := re.search(r"config file: (.+)\.$", str(cause))):
        folder = Path(match[1]).parent
        return f"{match[1]}: there is no such file{nearest(Path(match[1]).name, (p.name for p in folder.glob('*')))}"
    if setting := [frame for frame in frames if frame.f_code.co_name == "__setitem__"]:
        id = str(setting[0].f_locals["id"])
        reading = [frame for frame in frames if frame.f_code.co_name == "load_config_files"]
        origin = str(reading[0].f_locals["i"]) if reading else "the command line"
        id = id.replace("#", "::")
        hint = nearest_id(id, setting[0].f_locals["self"])
        return f"{origin}: cannot set {id!r}: there is no {id.rpartition('::')[0]!r}{hint}"
    return f"{values.get('i', 'configuration')}: {_one_line(cause)}"


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised from, and so on to the first."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _frames(traceback: TracebackType | None, function: str | None = None) -> list[FrameType]:
    frames = []
    while traceback is not None:
        if function in (None, traceback.tb_frame.f_code.co_name):
            frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return frames


def install(command: Command) -> None:
    """Have the interpreter report uncaught errors by `explain`, and others as before."""
    previous = sys.excepthook

    def report(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        text = explain(error, command) if isinstance(error, Exception) else None
        if text is None:
            previous(kind, error, traceback)
        else:
            print(_told(text), file=sys.stderr, flush=True)

    sys.excepthook = report


def _told(text: str) -> str:
    return f"bonemets: {text}\n({TRACEBACK_VARIABLE}=1 shows the whole traceback.)"


def is_command_line() -> bool:
    """Whether MONAI's command line is the program that runs."""
    specification = getattr(sys.modules["__main__"], "__spec__", None)
    return specification is not None and specification.name == "monai.bundle.__main__"


def wanted() -> bool:
    """Whether MONAI's command line is the program, and nobody asked for whole tracebacks."""
    return is_command_line() and all(
        os.environ.get(name, "0") in ("", "0") for name in (TRACEBACK_VARIABLE, "MONAI_DEBUG_CONFIG")
    )


def shorten() -> None:
    """Shorten the errors of MONAI's command line from now on, and end it if nothing uses one of its settings.

    Raises:
        SystemExit: there is such a setting; the text is its argument, which Python prints.
    """
    if not wanted() or not (running := _running()):
        return
    install(running[0])
    if mistake := find_mistyped(*running):
        # MONAI turns an exception in an import into a missing module; a program that ends is one.
        raise SystemExit(_told(mistake))


def _running() -> tuple[Command, ConfigParser] | None:
    """The command and the configuration of MONAI's command line, looked up among the callers."""
    parser, frame = None, inspect.currentframe()
    while frame is not None:
        local = frame.f_locals
        if isinstance(local.get("self"), ConfigWorkflow):
            parser = local["self"].parser
        if frame.f_code in (run.__code__, run_workflow.__code__) and parser is not None:
            given = dict(ConfigParser.load_config_files(local["args_file"] or {}))
            given |= {key: value for key, value in local.items() if value is not None}
            given |= given.pop("override", given.pop("kwargs", {}))
            options = {*inspect.signature(ConfigWorkflow).parameters, *local}
            overrides = {key: value for key, value in given.items() if key not in options}
            return Command(tuple(map(str, ensure_tuple(given["config_file"]))), overrides), parser
        frame = frame.f_back
    return None
