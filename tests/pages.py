"""Waiting for what a page draws by itself, and what its console may tell."""

from __future__ import annotations

import re
from typing import Any

from tests.browsers import Browser

__all__ = ["errors_told", "text_of", "wait_for"]

_LIMIT_S = 120.0
"""Only ends a test that would wait for ever: a busy machine is slow."""


def wait_for(browser: Browser, script: str) -> Any:
    """Returns the value of a JavaScript expression once it is truthy."""
    from selenium.common.exceptions import TimeoutException
    from selenium.webdriver.support.ui import WebDriverWait

    try:
        return WebDriverWait(browser.driver, _LIMIT_S).until(
            lambda driver: driver.execute_script(f"return ({script})")
        )
    except TimeoutException:
        raise AssertionError(f"never true: {script}\nThe page: {text_of(browser)}") from None


def text_of(browser: Browser) -> str:
    """Returns the visible text of the page, with plain spaces."""
    return str(browser.run("return document.body.innerText")).replace("\xa0", " ")


def errors_told(browser: Browser, known: tuple[str, ...] = ()) -> list[str]:
    """Returns the errors in the console since the page was opened.

    Args:
        browser: It shows the page.
        known: Patterns of errors that are left out.
    """
    told = [e["message"] for e in browser.driver.get_log("browser") if e["level"] == "SEVERE"]
    return [message for message in told if not any(re.search(p, message) for p in known)]
