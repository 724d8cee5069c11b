"""From pydantic's validation errors to lines that a person can act on: path, value, rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from energytune.errors import near_names

__all__ = ["boolean_problems", "describe_problems", "did_you_mean"]

_RULES = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "finite_number": "must be finite",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be > {gt:g}",
    "greater_than_equal": "must be >= {ge:g}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than": "must be < {lt:g}",
    "less_than_equal": "must be <= {le:g}",
    "literal_error": "must be {expected}",
    "missing": "is missing and has no default",
    "model_type": "must be a mapping of keys to values",
    "string_type": "must be text",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
    "value_error": "{error}",
}
"""Pydantic's error types in the words of this package; others keep pydantic's message."""


def did_you_mean(name: str, known: list[str]) -> str:
    """Returns ``"did you mean 'x'?"``, or the list of known names if none is near."""
    near = near_names(name, known, n_names=2)
    if near:
        return "did you mean " + " or ".join(repr(candidate) for candidate in near) + "?"
    return f"known: {', '.join(known)}"


def describe_problems(
    model: type[BaseModel], error: ValidationError, data: Mapping[str, Any]
) -> list[str]:
    """Returns one line a problem, without repeats: ``"tau.low = -1: must be >= 0"``.

    Args:
        model: The model that was validated.
        error: What pydantic found.
        data: What was validated, as the user wrote it. A path ends where this holds a bare
            value, so that a fixed dimension is named once and not by its two equal bounds.
    """
    lines: dict[str, None] = {}
    for found in error.errors(include_url=False):
        loc = _written_path(found["loc"], data)
        path = _dotted(loc)
        kind = found["type"]
        if kind == "extra_forbidden":
            known = list(_model_at(model, loc[:-1]).model_fields)
            line = f"{path}: unknown key; {did_you_mean(str(loc[-1]), known)}"
        else:
            rule = _RULES.get(kind, found["msg"]).format(**found.get("ctx", {}))
            value = found["input"]
            if kind == "missing":
                line = f"{path}: {rule}"
            elif kind == "value_error" and isinstance(value, Mapping):
                line = f"{path}: {rule}" if path else rule
            else:
                line = f"{path} = {value!r}: {rule}"
            if kind == "literal_error" and (near := near_names(str(value), _literals(found))):
                line += f"; did you mean {near[0]!r}?"
        lines[line] = None
    return list(lines)


def boolean_problems(model: type[BaseModel], data: Mapping[str, Any]) -> Iterator[str]:
    """Yields a line for each true/false where no boolean belongs.

    YAML reads ``yes``, ``no``, ``on`` and ``off`` as booleans, which pydantic takes for 1 and 0.
    """
    for name, value in data.items():
        field = model.model_fields.get(name)
        if field is None or field.annotation is bool:
            continue
        nested = _as_model(field.annotation)
        if isinstance(value, bool):
            yield f"{name} = {value}: must not be a boolean (true, false, yes, no, on, off)"
        elif nested is not None and isinstance(value, Mapping):
            yield from (f"{name}.{line}" for line in boolean_problems(nested, value))


def _dotted(loc: tuple[int | str, ...]) -> str:
    """Returns ``a.b[0]`` for ``("a", "b", 0)``."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _written_path(loc: tuple[int | str, ...], data: Any) -> tuple[int | str, ...]:
    """Returns the part of ``loc`` that stands in ``data``, and one step into a mapping."""
    written: list[int | str] = []
    for part in loc:
        if isinstance(data, Mapping):
            written.append(part)
            if part not in data:
                break
            data = data[part]
        elif isinstance(data, list | tuple):
            if isinstance(part, int):
                written.append(part)
                data = data[part] if part < len(data) else None
            # else: a bare list was read as {"choices": list}, which nobody wrote
        else:
            break
    return tuple(written)


def _as_model(annotation: Any) -> type[BaseModel] | None:
    """Returns the annotation if it is a model class, else None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """Returns the model that the keys at ``loc`` belong to."""
    for part in loc:
        field = model.model_fields.get(str(part))
        model = (_as_model(field.annotation) if field else None) or model
    return model


def _literals(found: Any) -> list[str]:
    """Returns the values that a literal field allows, from pydantic's text ``'a' or 'b'``."""
    return str(found["ctx"]["expected"]).split("'")[1::2]
