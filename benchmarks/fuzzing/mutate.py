"""Damages valid files: bytes, text, JSON, tables and archives, each in its own grammar.

What is drawn depends on the random generator alone, so that an input is known by its number.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["mutate_file", "mutate_files", "mutate_json", "mutate_text"]

Random = random.Random

_NUMBERS = (0, -1, 1, 255, 2**31 - 1, 2**31, -(2**31), 2**53 + 1, 2**63, 2**64, -(2**63), 10**30)
_FLOATS = (0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), float("-inf"))
_TEXTS = (
    "", " ", "\0", "\n", "a" * 5000, "é\U0001f600\u202e\ufeff", "\ud800", "../../../etc/passwd",
    "/etc/passwd", "CON", "-1", "1e999", "NaN", "inf", "0x10", "1_000", "True", "null", "%s%n",
    "{}", "'\"`;", "=1+1", "9" * 400, "٣", "tau", "linear", "__class__",
    "!!python/object:os.system",
)  # fmt: skip
_TOKENS = (
    *_TEXTS, ",", ";", "\t", ":", "-", "?", "&", "#", "*a", "&a ", "<<", "[", "]", "{", "}", "|",
    '"', "\r", "\r\n", "\x1a", "\ufeff", "=", "@", "//", "%00", "[" * 2000, "{" * 2000,
    '{"a":' * 2000, "- " * 500, "C" * 3000, "(" * 500, "1" * 5000,
)  # fmt: skip
_MEMBERS = ("../evil", "/tmp/evil", "a/../../evil", "C:\\evil", "archive/data.pkl", "", "a" * 300)


def mutate_files(rng: Random, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Returns a copy of a set of files of which one, or now and then two, are damaged."""
    damaged = dict(files)
    for name in rng.sample(sorted(damaged), min(len(damaged), rng.choice((1, 1, 1, 2)))):
        if len(damaged) > 1 and rng.random() < 0.03:
            del damaged[name]
            continue
        damaged[name] = mutate_file(rng, name, damaged[name])
    return damaged


def mutate_file(rng: Random, name: str, content: bytes) -> bytes:
    """Returns the damaged content of a file, by the grammar that its name tells, or by none."""
    if rng.random() < 0.3:
        return _bytes(rng, content)
    suffix = name.rpartition(".")[2]
    change = _GRAMMARS.get(suffix, _bytes)
    try:
        for _ in range(rng.choice((1, 1, 2, 4))):
            content = change(rng, content)
    except Exception:
        return _bytes(rng, content)  # it was damaged too much for its own grammar
    return content


def mutate_text(rng: Random, text: str) -> str:
    """Returns a text with pieces dropped, doubled, moved, or replaced by hostile ones."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        if rng.random() < 0.5:
            text = _lines(rng, text)
            continue
        a, b = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        if rng.random() < 0.7:
            b = min(b, a + rng.randint(0, 8))
        piece = rng.choice((rng.choice(_TOKENS), text[a:b] * 2, "", str(rng.choice(_NUMBERS))))
        text = text[:a] + piece + text[b:]
    return text


def mutate_json(rng: Random, value: Any) -> Any:
    """Returns a JSON value of which one part has another value, type, name or place."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value))
        if rng.random() < 0.75:
            return {**value, key: mutate_json(rng, value[key])}
        kept = {k: v for k, v in value.items() if k != key}
        return kept if rng.random() < 0.5 else {**kept, rng.choice(_TEXTS): value[key]}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        if rng.random() < 0.75:
            return [*value[:at], mutate_json(rng, value[at]), *value[at + 1 :]]
        return rng.choice((value[:at] + value[at + 1 :], value * 2, value[::-1], value[:at]))
    if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.5:
        return rng.choice((-value, value + 1, value * 0.5, round(value) if abs(value) < 1e9 else 0))
    return _any_value(rng)


def _any_value(rng: Random) -> Any:
    choices: tuple[Callable[[], Any], ...] = (
        lambda: rng.choice(_NUMBERS),
        lambda: rng.choice(_FLOATS),
        lambda: rng.choice(_TEXTS),
        lambda: rng.choice((None, True, False, [], {}, [[]], [None], {"": None})),
        lambda: [rng.choice(_NUMBERS)] * rng.randint(0, 40),
        lambda: _nested(rng.randint(1, 900)),
    )
    return rng.choice(choices)()


def _nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def _bytes(rng: Random, content: bytes) -> bytes:
    """Damages bytes without a look at what they mean."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        a, b = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
        kind = rng.randrange(8)
        if kind == 0 and data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[rng.randrange(len(data))] = rng.choice(
                (0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256))
            )
        elif kind == 2:
            del data[a:]
        elif kind == 3:
            del data[a : min(b, a + rng.choice((1, 4, 64, 10**6)))]
        elif kind == 4:
            data[a:a] = data[a:b][:4096]
        elif kind == 5:
            data[a : a + 8] = struct.pack(rng.choice("<>") + "q", rng.choice(_NUMBERS[:9]) % 2**62)
        elif kind == 6:
            data[a : a + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(_NUMBERS[:9]) % 2**32)
        else:
            data[a:a] = rng.choice(_TOKENS).encode("utf-8", "surrogatepass")
    return bytes(data[: 1 << 20])


def _lines(rng: Random, text: str) -> str:
    """Changes the order and number of lines, or the cells of one."""
    lines = text.splitlines(keepends=True) or [""]
    at = rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(rng.randrange(len(lines) + 1), lines[at])
    elif kind == 2:
        lines[at] = lines[at].rstrip("\n")
    elif kind == 3:
        cells = lines[at].split(",")
        cells[rng.randrange(len(cells))] = rng.choice(_TOKENS)
        lines[at] = ",".join(cells)
    else:
        lines[at] = ",".join(lines[at].split(",") * rng.choice((2, 50)))
    return "".join(lines)


def _text(rng: Random, content: bytes) -> bytes:
    text = mutate_text(rng, content.decode("utf-8", "replace"))
    coding = rng.choice(("utf-8", "utf-8", "utf-8", "utf-8", "utf-16", "utf-8-sig", "latin-1"))
    return text.encode(coding, "surrogatepass" if coding != "latin-1" else "replace")


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def _as_json(rng: Random, content: bytes) -> bytes:
    if rng.random() < 0.2:
        return _text(rng, content)
    return _dump(mutate_json(rng, json.loads(content)))


def _json_lines(rng: Random, content: bytes) -> bytes:
    lines = content.splitlines()
    at = rng.randrange(len(lines))
    kind = rng.randrange(6)
    if kind == 0:
        return content[: rng.randint(0, len(content))]
    if kind == 1:
        rng.shuffle(lines)
    elif kind == 2:
        lines.insert(at, rng.choice(lines))
    else:
        lines[at] = _as_json(rng, lines[at])
    return b"\n".join(lines) + b"\n"


def _gzipped(rng: Random, content: bytes) -> bytes:
    if rng.random() < 0.02:
        return gzip.compress(rng.choice((b"0", b",", b"\n", b"0,0\n")) * (16 << 20), 9)
    unfolded = gzip.decompress(content)
    return gzip.compress(_text(rng, unfolded), 1) if len(unfolded) < 1 << 20 else content


def _safetensors(rng: Random, content: bytes) -> bytes:
    n_header = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + n_header]), content[8 + n_header :]
    key = rng.choice(sorted(header))
    if key == "__metadata__" and header[key] and rng.random() < 0.8:
        name = rng.choice(sorted(header[key]))
        try:
            header[key][name] = json.dumps(mutate_json(rng, json.loads(header[key][name])))
        except ValueError:
            header[key][name] = mutate_text(rng, header[key][name])
    elif rng.random() < 0.7:
        header[key] = mutate_json(rng, header[key])
    else:
        header[rng.choice((*_TEXTS, rng.choice(sorted(header))))] = header.pop(key)
    raw = json.dumps(header).encode()
    n_told = len(raw) if rng.random() < 0.9 else rng.choice(_NUMBERS) % 2**64
    return n_told.to_bytes(8, "little") + raw + data


def _zipped(rng: Random, content: bytes) -> bytes:
    """Rewrites an archive with one member damaged, renamed, doubled or blown up."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen = rng.choice(names)
        for name in names:
            data = old.read(name)
            kind = zipfile.ZIP_STORED
            if name == chosen:
                action = rng.randrange(6)
                if action == 0:
                    continue
                if action == 1:
                    name = rng.choice(_MEMBERS) or "x"
                elif action == 2 and rng.random() < 0.1:
                    data, kind = bytes(64 << 20), zipfile.ZIP_DEFLATED
                elif action == 3:
                    kind = zipfile.ZIP_DEFLATED
                else:
                    data = _bytes(rng, data)
            new.writestr(name, data, kind)
    return out.getvalue()


_GRAMMARS: dict[str, Callable[[Random, bytes], bytes]] = {
    "yaml": _text,
    "csv": _text,
    "txt": _text,
    "smi": _text,
    "name": _text,
    "json": _as_json,
    "jsonl": _json_lines,
    "journal": _json_lines,
    "gz": _gzipped,
    "safetensors": _safetensors,
    "pt": _zipped,
    "npz": _zipped,
}
"""Ending of a file's name -> how its content is damaged; any other is taken as plain bytes."""
