"""Names that say where the data are, with options behind a question mark.

``folder:/data/pets?skip-unreadable``, ``hf:beans?image=image&label=labels``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from energytune.errors import ConfigError, near_names

__all__ = ["FOLDER_OPTIONS", "HF_OPTIONS", "SKIP", "OpenName", "is_path", "parse_name", "slug"]

SKIP = "skip-unreadable"
FOLDER_OPTIONS = {SKIP: False}
"""Options of ``folder:PATH`` -> whether they take a value."""
HF_OPTIONS = dict.fromkeys(("config", "image", "label", "train", "valid", "test"), True)
"""Options of ``hf:NAME_OR_PATH`` -> whether they take a value."""


@dataclass(frozen=True)
class OpenName:
    """A name, taken apart.

    Attributes:
        prefix: ``"folder"``, ``"hf"``, ...
        target: What it points to: a path or a name.
        options: What stands behind the question mark; a flag has the value ``""``.
    """

    prefix: str
    target: str
    options: Mapping[str, str]


def parse_name(name: str, known: Mapping[str, bool]) -> OpenName:
    """Takes a name such as ``folder:PATH?option=value&flag`` apart.

    Args:
        name: The name.
        known: Options that there are -> whether they take a value.

    Raises:
        ConfigError: It points to nothing, an option is not known, twice there, or lacks its value.
    """
    prefix, _, rest = name.partition(":")
    target, _, query = rest.partition("?")
    if not target:
        raise ConfigError(f"{name!r} lacks what {prefix!r} points to: write {prefix}:PATH.")
    options: dict[str, str] = {}
    for word in filter(None, query.split("&")):
        key, equals, value = word.partition("=")
        if key not in known:
            near = near_names(key, known)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."
            raise ConfigError(f"{name!r} has the unknown option {key!r}. {hint}")
        if key in options:
            raise ConfigError(f"{name!r} gives the option {key!r} twice. Leave one out.")
        if known[key] != bool(value) or (equals and not value):
            form = f"{key}=VALUE" if known[key] else key
            raise ConfigError(f"In {name!r}, {word!r} must be written {form}.")
        options[key] = value
    return OpenName(prefix, target, options)


def is_path(target: str) -> bool:
    """Returns whether a target is a folder on this machine and not a name of the Hub."""
    return target.startswith(("/", ".", "~")) or Path(target).is_dir()


def slug(text: str, default: str) -> str:
    """Returns ``text`` as a name of letters, digits, ``_`` and ``-``, or ``default``.

    Models are stored under it, and MLflow forbids slashes, colons, dots and more.
    """
    return re.sub(r"[^\w-]+", "-", text).strip("-") or default
