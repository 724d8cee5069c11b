"""Reads a .mat file, as a program of its own: ``python mat_reader.py FILE`` prints JSON.

SciPy's reader is compiled code that trusts the file: one wrong bit can end the process. So it runs
in another one than the search, with a limit of memory, and this file imports nothing of the
package.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

_MAX_BYTES = 4 << 30
_MAX_DEPTH = 8


def main() -> None:
    """Prints each variable: ``{"values": [...]}``, or ``{"fields": [...], "rows": [...]}``."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _MAX_BYTES if hard == resource.RLIM_INFINITY else min(_MAX_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    import numpy as np
    from scipy.io import loadmat

    try:
        variables = loadmat(sys.argv[1], squeeze_me=True)
    except Exception as error:  # a damaged file can break the reader anywhere
        print(json.dumps({"problem": f"{type(error).__name__}: {error}"[:500]}))
        return
    told = {
        str(name): _described(np.atleast_1d(value))
        for name, value in variables.items()
        if not name.startswith("__")
    }
    print(json.dumps({"variables": told}))


def _described(array: Any) -> dict[str, Any]:
    if array.dtype.names:
        rows = [[_plain(row[field]) for field in array.dtype.names] for row in array.ravel()]
        return {"fields": list(array.dtype.names), "rows": rows}
    return {"values": _plain(array)}


def _plain(value: Any, depth: int = 0) -> Any:
    """Returns a JSON value; None for what is no number, no text and no array of these."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list) and depth < _MAX_DEPTH:
        return [_plain(item, depth + 1) for item in value]
    return value if isinstance(value, str | bool | int | float) else None


if __name__ == "__main__":
    main()
