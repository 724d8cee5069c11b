"""Names of files in a dataset's lists: they must stay in its folder."""

from __future__ import annotations

from pathlib import PurePath

from energytune.errors import DataError

__all__ = ["check_inside"]

_MAX_PART, _MAX_PATH = 255, 4000


def check_inside(name: str, where: str) -> str:
    """Returns the name of a file, relative to the folder of its dataset.

    Args:
        name: As the list has it.
        where: The list and its line, for the message.

    Raises:
        DataError: It is absolute, climbs out of the folder by ``..``, or can't be a path at all.
    """
    path = PurePath(name)
    too_long = len(name) > _MAX_PATH or any(
        len(part.encode("utf-8", "replace")) > _MAX_PART for part in path.parts
    )
    if path.is_absolute() or ".." in path.parts or "\0" in name or too_long:
        raise DataError(
            f"{where} names {name!r}, which must be the path of a file inside of the dataset's "
            "folder. Fetch the list again."
        )
    return name
