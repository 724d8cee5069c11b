"""Addresses without their secrets: every text with an address passes here before it is shown.

Passwords come in two places: before the ``@`` of an address, and in the query behind it
(``?password=``, ``?token=``, ``X-Amz-Signature``). What is hidden is rather too much than too
little: a password may hold ``@``, ``/`` and ``:`` as they are, so everything from ``//`` to the
last ``@`` of the word goes, the user's name too, which is itself the secret where a token is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

__all__ = ["has_secret", "redact", "without_login"]

_HIDDEN = "***"
_BEGINS_AS_ADDRESS = re.compile(r"\s*(?:[\w.+-]+:)?//")
_HAS_NO_LOGIN = re.compile(r"(?:(?:sqlite(?:\+\w+)?|journal|file):/|hf:)//", re.IGNORECASE)
_SLASHES = re.compile(r"//+")
_WORD = re.compile(r"\S+")
_SECRET_NAMES = (
    r"[\w.%-]{0,40}(?:passw|pwd|token|secret|signature|credential|auth(?!or)|"
    r"(?:api|access|private|account|shared)[_.-]?key)[\w.%-]{0,40}"
    r"|pass|sig|key|code|odbc_connect"
)
_IN_QUERY = re.compile(rf"([?&;#](?:{_SECRET_NAMES})=)[^&;#\s]+", re.IGNORECASE)
_IN_SETTINGS = re.compile(
    r"(?<![?&;#\w])(\w*(?:password|passwd|pwd))(\s?[=:]\s?)('(?:[^'\\]|\\.)*'|\S+)", re.IGNORECASE
)
_IN_HEADER = re.compile(r"\b(authorization:?\s+\w+\s+|bearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
_LEAST_LETTERS = 4
"""A shorter password is hidden in its address only: everywhere else it is a part of words."""


def redact(text: str, *addresses: str | None) -> str:
    """Returns a text in which ``***`` stands for the logins and secret parameters of addresses.

    Args:
        text: An address, or any text that may hold some: an error of a driver, for example.
        addresses: Addresses that the text is about. Their passwords are hidden wherever they
            stand, as they are and percent-encoded; None is passed over.
    """
    for secret in sorted(set(_secrets(addresses)), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    if _BEGINS_AS_ADDRESS.match(text):  # a password may hold blanks
        text = _without_login(text, f"{_HIDDEN}@")
    else:
        text = _WORD.sub(lambda word: _without_login(word[0], f"{_HIDDEN}@"), text)
    text = _IN_QUERY.sub(rf"\1{_HIDDEN}", text)
    text = _IN_SETTINGS.sub(rf"\1\2{_HIDDEN}", text)
    return _IN_HEADER.sub(rf"\1{_HIDDEN}", text)


def without_login(address: str) -> str:
    """Returns an address without user, password and secret parameters, to link to or to ask."""
    return _IN_QUERY.sub(rf"\1{_HIDDEN}", _without_login(address, ""))


def has_secret(address: str) -> bool:
    """Returns whether an address holds what :func:`redact` would hide."""
    return redact(address) != address


def _without_login(text: str, instead: str) -> str:
    if _HAS_NO_LOGIN.search(text) and len(_SLASHES.findall(text)) == 1:  # a path may hold an @
        return text
    head, slashes, rest = text.partition("//")
    login, at, place = rest.rpartition("@")
    return f"{head}{slashes}{instead}{place}" if at and login else text


def _secrets(addresses: tuple[str | None, ...]) -> Iterator[str]:
    """Yields the passwords of addresses, or the user where there is no password, as written."""
    for address in filter(None, addresses):
        login, at, _ = address.partition("//")[2].rpartition("@")
        if not at:
            continue
        user, colon, password = login.partition(":")
        word = password if colon else user
        for plain in {word, unquote(word), unquote_plus(word)}:
            forms = (plain, repr(plain)[1:-1], quote(plain), quote(plain, safe=""))
            every = {*forms, quote_plus(plain), json.dumps(plain)[1:-1]}
            yield from (form for form in every if len(form) >= _LEAST_LETTERS)
