"""What mkdocs does to our pages beyond its own: links out of ``docs/`` go to the repository's page of that file.

On GitHub ``../../bundles/NAME/docs/README.md`` opens the file. The site has no such page, so the same link is rewritten
to the file's address in the repository; a link to a file that does not exist fails the build.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

_FENCE = re.compile(r"^(```.*?^```\s*?$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)(#[^)\s]*)?(\))")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Rewrite the links of one page, outside of code blocks.

    Args:
        markdown: the page's text.
        page: mkdocs' page; its file's path is relative to ``docs/``.
        config: mkdocs' configuration, with ``repo_url`` and the path of ``mkdocs.yml``.

    Returns:
        The text with absolute links to files outside of ``docs/``.

    Raises:
        FileNotFoundError: if such a file does not exist; the message names page and link.
    """
    root = Path(config["config_file_path"]).parent
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def rewrite(match: re.Match[str]) -> str:
        before, target, anchor, after = match.groups()
        path = posixpath.normpath(posixpath.join(folder, target))
        if "://" in target or target.startswith(("/", "mailto:")) or path.split("/")[0] == "docs":
            return match.group()
        if not (root / path).exists():
            raise FileNotFoundError(f"docs/{page.file.src_uri}: the link {target} leads to no file of the repository")
        kind = "tree" if (root / path).is_dir() else "blob"
        return f"{before}{config['repo_url'].rstrip('/')}/{kind}/main/{path}{anchor or ''}{after}"

    parts = _FENCE.split(markdown)
    return "".join(part if index % 2 else _LINK.sub(rewrite, part) for index, part in enumerate(parts))
