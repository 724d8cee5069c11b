"""A real browser for tests: Debian's Chromium, driven by selenium, with a fresh profile."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.not_run import not_run

__all__ = ["Browser", "browser"]

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


class Browser:
    """One Chromium.

    Args:
        driver: selenium's.

    Attributes:
        driver: The same, for what is not here.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, page: Path | str, *, width: int = 1280, dark: bool = False) -> None:
        """Shows a file or an address, and forgets what console and network have told before.

        Args:
            page: A file, or an address.
            width: Of the window, in CSS pixels; below 600 it is a phone.
            dark: Whether the reader prefers a dark page.
        """
        address = page.absolute().as_uri() if isinstance(page, Path) else page
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setDeviceMetricsOverride", **screen)
        self._call("Emulation.setEmulatedMedia", media="", features=[scheme])
        self.driver.get("about:blank")
        self.console()
        self.requests()
        self.driver.get(address)

    def run(self, script: str, *arguments: Any) -> Any:
        """Returns what JavaScript returns; the page's own policy does not bind it."""
        return self.driver.execute_script(script, *arguments)

    def console(self) -> list[str]:
        """Returns what the console has told since the last call: errors and warnings."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Returns the addresses that were asked for since the last call."""
        told = (json.loads(e["message"])["message"] for e in self.driver.get_log("performance"))
        return [
            event["params"]["request"]["url"]
            for event in told
            if event["method"] == "Network.requestWillBeSent"
        ]

    def screenshot(self, path: Path) -> None:
        """Writes the whole page, below the window's end too, as PNG."""
        width, height = self.run(
            "return [innerWidth, document.documentElement.scrollHeight]",
        )
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self._call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self) -> bytes:
        """Returns the page as it is printed."""
        printed = self._call("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
        return base64.b64decode(printed["data"])

    def _call(self, command: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The session's Chromium, with a profile of its own that is thrown away."""
    if importlib.util.find_spec("selenium") is None:
        not_run("selenium", "pip install selenium")
    program = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    driver_program = shutil.which("chromedriver")
    if program is None or driver_program is None:
        not_run("Chromium with its driver", "apt-get install chromium chromium-driver")
    os.environ["SE_OFFLINE"] = "true"  # the programs are here: nothing is to be looked for
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    profile = tempfile.mkdtemp(prefix="energytune-chromium-")
    options = ChromeOptions()
    options.binary_location = program
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, Service(driver_program))
    try:
        driver.execute_cdp_cmd("Network.enable", {})
        yield Browser(driver)
    finally:
        with contextlib.suppress(Exception):
            driver.quit()
        shutil.rmtree(profile, ignore_errors=True)
