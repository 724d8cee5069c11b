"""Whether a server can be reached, told within seconds instead of after many retries."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request

__all__ = ["unreachable"]

_REACH_S = 6.0  # looking a name up has no time limit of its own


def unreachable(url: str) -> str:
    """Returns why a server gives no answer within seconds; empty if it gives any."""
    outcome: list[str] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(
                url, method="HEAD", headers={"User-Agent": "energytune"}
            )
            urllib.request.urlopen(request, timeout=_REACH_S).close()
            outcome.append("")
        except urllib.error.HTTPError:
            outcome.append("")  # it answered, if only to refuse
        except Exception as error:  # handed over to the waiting thread
            outcome.append(str(getattr(error, "reason", error)))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_REACH_S)
    return outcome[0] if outcome else f"no answer within {_REACH_S:g} seconds"
