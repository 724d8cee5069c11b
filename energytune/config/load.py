"""Search spaces by name or from a YAML file, with every problem of a file told at once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from energytune.config.problems import boolean_problems, describe_problems, did_you_mean
from energytune.config.recipe import DIMENSIONS, Recipe
from energytune.config.space import SearchSpace
from energytune.errors import ConfigError, unknown_name

__all__ = ["apply_fixes", "list_spaces", "load_space", "parse_fix"]

_SUFFIXES = (".yaml", ".yml")
_MAX_BYTES = 1 << 20


class _Loader(yaml.SafeLoader):
    """A safe loader that remembers keys given twice, of which YAML keeps the last."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.repeated: list[str] = []

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Builds a node; refuses references, of which a few lines can make millions of values."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "references (*name) are not taken: write the values out", mark
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Builds a mapping; notes the repeated keys."""
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                line = key.start_mark.line + 1
                self.repeated.append(f"{name}: given twice, the second time in line {line}")
            seen.add(name)
        return super().construct_mapping(node, deep=deep)


def list_spaces() -> dict[str, Path]:
    """Returns the search spaces that come with the package: name -> YAML file, by name."""
    package = Path(str(resources.files("energytune")))
    # An installed package carries the files; a checkout has them beside the package.
    folders = (package / "search_spaces", package.parent / "search_spaces")
    for folder in folders:
        found = sorted(folder.glob("*.yaml"))
        if found:
            return {path.stem: path for path in found}
    return {}


def load_space(name_or_path: str | Path) -> SearchSpace:
    """Reads and validates a search space.

    Args:
        name_or_path: Name of a packaged space (:func:`list_spaces`), or a YAML file. A name
            wins over a file that is called the same: write ``./name.yaml`` for the file.

    Raises:
        UnknownNameError: There is no space and no file of that name; near names are given.
        ConfigError: The file can't be read or breaks rules. The message has one line for each
            problem: path, value, rule, and near names of unknown keys.
    """
    spaces = list_spaces()
    path = spaces.get(str(name_or_path))
    if path is None:
        path = Path(name_or_path).expanduser()
        looks_like_file = path.suffix in _SUFFIXES or len(path.parts) > 1
        if not path.exists() and not looks_like_file:
            hint = "`--space` takes a name or the path of a YAML file."
            raise unknown_name("search space", str(name_or_path), spaces, hint)
    data, problems = _read(path)
    problems += boolean_problems(SearchSpace, data)
    space, found = _validate(data)
    problems += (line for line in found if line not in problems)
    if problems or space is None:
        raise _config_error(str(path), problems)
    return space if "name" in data else space.model_copy(update={"name": path.stem})


def parse_fix(text: str) -> tuple[str, Any]:
    """Reads one ``--fix`` of the command line: ``"tau=8"`` -> ``("tau", 8)``.

    Raises:
        ConfigError: It is not ``NAME=VALUE``, the name is no dimension (near names are given),
            or the value breaks the dimension's rule.
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not value:
        raise ConfigError(f"--fix {text}: must be NAME=VALUE, for example --fix tau=8")
    _check_dimension(name, f"--fix {text}")
    plain: dict[str, Any] = {"tau": 0, "ft_lr": 1.0, name: value}
    try:
        return name, getattr(Recipe.model_validate(plain), name)
    except ValidationError as error:
        problems = describe_problems(Recipe, error, plain)
        raise _config_error(f"--fix {text}", problems) from None


def apply_fixes(space: SearchSpace, fixes: Mapping[str, Any]) -> SearchSpace:
    """Returns the space with some dimensions fixed to one value each.

    Args:
        space: The space to narrow; stays as it is.
        fixes: Dimension -> value. Any valid value of the dimension is allowed, also one outside
            the range that ``space`` searches.

    Raises:
        ConfigError: A name is no dimension, or a value breaks its dimension's rule.
    """
    data = space.model_dump()
    for name, value in fixes.items():
        _check_dimension(name, f"fix {name}")
        data[name] = value
    fixed, problems = _validate(data)
    if fixed is None:
        raise _config_error("fixed values", problems)
    return fixed


def _check_dimension(name: str, where: str) -> None:
    """Raises ConfigError unless ``name`` is a dimension of the search space."""
    if name not in DIMENSIONS:
        told = did_you_mean(name, list(DIMENSIONS))
        raise ConfigError(f"{where}: {name!r} is no dimension of the search space; {told}")


def _read(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Returns a YAML file's mapping and its repeated keys.

    Raises:
        ConfigError: The file can't be read, is no YAML, or holds no mapping.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ConfigError(f"{path}: a search space has at most {_MAX_BYTES >> 20} MiB")
        loader = _Loader(content.decode("utf-8"))
        try:
            data = loader.get_single_data()
        finally:
            loader.dispose()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"{path}: the search space can't be read: {reason}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: this is not valid YAML: {error}") from None
    if not isinstance(data, dict):
        held = "is empty" if data is None else f"holds a {type(data).__name__}"
        raise ConfigError(
            f"{path}: a search space must be a mapping with at least the keys tau and ft_lr; "
            f"the file {held}. {list_spaces()['default']} is an example."
        )
    return {str(key): value for key, value in data.items()}, loader.repeated


def _validate(data: Mapping[str, Any]) -> tuple[SearchSpace | None, list[str]]:
    """Returns the space, or None and all problems.

    Pydantic compares bounds only where a section has no other problem. So a second look without
    the unknown keys finds what the first one could not see.
    """
    try:
        return SearchSpace.model_validate(data), []
    except ValidationError as error:
        problems = describe_problems(SearchSpace, error, data)
        unknown = [e["loc"] for e in error.errors() if e["type"] == "extra_forbidden"]
    if unknown:
        try:
            SearchSpace.model_validate(_without(data, set(unknown)))
        except ValidationError as error:
            more = describe_problems(SearchSpace, error, data)
            problems += [line for line in more if line not in problems]
    return None, problems


def _without(
    data: Mapping[str, Any], unknown: set[tuple[int | str, ...]], at: tuple[int | str, ...] = ()
) -> dict[str, Any]:
    """Returns a copy of the nested mapping without the paths in ``unknown``."""
    return {
        key: _without(value, unknown, (*at, key)) if isinstance(value, Mapping) else value
        for key, value in data.items()
        if (*at, key) not in unknown
    }


def _config_error(where: str, problems: list[str]) -> ConfigError:
    """Returns the error that lists all problems, one a line."""
    if len(problems) == 1:
        return ConfigError(f"{where}: {problems[0]}")
    lines = "".join(f"\n  {line}" for line in problems)
    return ConfigError(f"{where}: {len(problems)} problems:{lines}")
