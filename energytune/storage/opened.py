"""From a path or URL to a file system, and how either is told to a person."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from energytune.errors import ConfigError
from energytune.redact import redact

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = ["first_line", "open_url"]


@lru_cache(maxsize=32)
def open_url(url: str) -> tuple[FileSystem, str]:
    """Returns the file system of ``url`` and the path in it, without a slash at its end."""
    import pyarrow as pa
    from pyarrow import fs

    if url.startswith("/") and url.strip("/"):
        return fs.LocalFileSystem(), url.rstrip("/")
    if not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", url):
        raise ConfigError(
            f"storage_path must be an absolute path or a URL such as s3://bucket/folder, got "
            f"{redact(url)!r}."
        )
    try:
        system, path = fs.FileSystem.from_uri(url)
    except pa.ArrowInvalid as error:
        if "nrecognized filesystem type" not in str(error):
            raise _unusable(url, error) from None
        system, path = _open_by_fsspec(url)
    except (OSError, NotImplementedError) as error:
        raise _unusable(url, error) from None
    if not path.strip("/"):
        raise ConfigError(
            f"storage_path must name a folder, not the root of a store, got {redact(url)!r}."
        )
    return system, str(path).rstrip("/")


def _open_by_fsspec(url: str) -> tuple[FileSystem, str]:
    import fsspec
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    resolve: Callable[[str], tuple[Any, str]] = fsspec.core.url_to_fs
    try:
        system, path = resolve(url)
    except Exception as error:  # a driver may raise anything
        raise _unusable(url, error) from None
    return PyFileSystem(FSSpecHandler(system)), path


def _unusable(url: str, error: Exception) -> ConfigError:
    scheme = url.partition("://")[0]
    return ConfigError(
        f"storage_path = {redact(url)!r} can't be used: {first_line(error)}. Check the URL, "
        f"install fsspec's driver for {scheme}:// on every node, or name a folder that all nodes "
        "mount."
    )


def first_line(error: Exception) -> str:
    """Returns kind and first line of a driver's error, without secrets."""
    lines = str(error).strip().splitlines()
    text = redact(lines[0]) if lines else ""
    return f"{type(error).__name__}: {text}".rstrip(".: ")
