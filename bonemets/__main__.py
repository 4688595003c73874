"""``python -m bonemets``: the ``bonemets`` command."""

from __future__ import annotations

import sys

from bonemets.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
