"""Keeps pictures of pages that a test has looked at, for the documentation.

    ENERGYTUNE_SCREENSHOTS=docs/images python -m pytest \\
        tests/tracking/test_ui_pages.py tests/optimizer/test_dashboard.py

The numbers on them are the made-up ones of ``tests/tracking/three_searches.py``.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.browsers import Browser

__all__ = ["keep_screenshot"]


def keep_screenshot(browser: Browser, name: str) -> None:
    """Writes ``<name>.png`` into the folder ``$ENERGYTUNE_SCREENSHOTS``, if that is set."""
    folder = os.environ.get("ENERGYTUNE_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        browser.screenshot(Path(folder) / f"{name}.png")
