"""Names of the form ``csv:PATH?smiles=COLUMN&labels=COLUMN,COLUMN``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from energytune.errors import ConfigError, near_names

__all__ = ["CsvName", "parse_csv_name"]

_OPTIONS = ("smiles", "labels")


@dataclass(frozen=True)
class CsvName:
    """Which columns of which file.

    Attributes:
        path: The file, absolute.
        smiles: Name of the column with the SMILES; None looks for one by its usual names.
        labels: Names of the label columns; None takes all that hold labels only.
    """

    path: Path
    smiles: str | None = None
    labels: tuple[str, ...] | None = None

    @property
    def title(self) -> str:
        """Name of the file without its endings: ``y`` of ``/x/y.csv.gz``."""
        return self.path.name.removesuffix(".gz").removesuffix(".csv")


def parse_csv_name(name: str) -> CsvName:
    """Reads a name; ``%2C``, ``%26`` and ``%25`` stand for a comma, ``&`` and ``%`` in a column.

    Raises:
        ConfigError: It has an option that does not exist or that is empty.
    """
    text, _, query = name.removeprefix("csv:").partition("?")
    given: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        key, _, value = item.partition("=")
        if key not in _OPTIONS:
            near = near_names(key, _OPTIONS)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"{name!r} has an unknown option {key!r}.{hint} Write "
                "csv:PATH?smiles=COLUMN&labels=COLUMN,COLUMN, each option may be left out."
            )
        if not value or key in given:
            raise ConfigError(f"The option {key!r} of {name!r} must be given once, with a value.")
        given[key] = value
    labels = tuple(unquote(column) for column in filter(None, given.get("labels", "").split(",")))
    if len(set(labels)) < len(labels):
        raise ConfigError(f"The option 'labels' of {name!r} names a column twice.")
    return CsvName(
        Path(text).expanduser().absolute(),
        unquote(given["smiles"]) if "smiles" in given else None,
        labels or None,
    )
