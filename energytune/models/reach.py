"""Whether a server can be reached, told within seconds instead of after retries."""

from __future__ import annotations

import socket
import threading
import urllib.request
from urllib.parse import urlsplit

__all__ = ["WAYS_OUT", "unreachable"]

_REACH_TIMEOUT_S = 3.0

WAYS_OUT = (
    "Get the weights on another machine and pass --checkpoint FILE, or start from random weights "
    "with --weights none."
)
"""What to do where weights can't be downloaded."""


def unreachable(url: str) -> str:
    """Returns why a server can't be reached within seconds, "" if it can.

    Looking up a name has no time limit of its own, so this waits for a thread.
    """
    parts = urlsplit(url)
    scheme, host = parts.scheme or "https", parts.hostname or ""
    proxy = urllib.request.getproxies().get(scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        scheme, host = parts.scheme or "http", parts.hostname or ""
    port = parts.port or (443 if scheme == "https" else 80)
    outcome = [f"no answer in {_REACH_TIMEOUT_S:g} s"]

    def connect() -> None:
        try:
            with socket.create_connection((host, port), timeout=_REACH_TIMEOUT_S):
                outcome[0] = ""
        except OSError as failure:
            outcome[0] = str(failure)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_REACH_TIMEOUT_S)
    return outcome[0]
