from __future__ import annotations

import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energytune.redact import has_secret, redact, without_login

SCHEMES = ("http", "https", "postgresql", "postgresql+psycopg2", "mysql", "redis", "s3")
PLAIN = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=12)
"""Any visible text, ``@``, ``/``, ``:``, ``?``, quotes and blanks among it."""
SECRET = st.builds("{}Xq7{}Zk9{}".format, PLAIN, PLAIN, PLAIN)


def shown(text: str, secret: str) -> bool:
    """Whether a secret, or one of its marked halves, stands in a text in any spelling."""
    forms = {secret, quote(secret, safe=""), quote_plus(secret), "Xq7", "Zk9"}
    return any(form in text for form in forms)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:secret@host/db", "postgresql://***@host/db"),
        ("http://token@host:5000", "http://***@host:5000"),
        ("postgresql://me:p@ss/w:ord@host/db", "postgresql://***@host/db"),
        ("postgresql://me:two words@host/db", "postgresql://***@host/db"),
        ("ask 'https://me:secret@host/x' again", "ask 'https://***@host/x' again"),
        ("a http://a:b@c and http://d:e@f", "a http://***@c and http://***@f"),
        ("http://h/a?token=abc&page=2#top", "http://h/a?token=***&page=2#top"),
        ("https://h/k?X-Amz-Signature=0f&X-Amz-Date=1", "https://h/k?X-Amz-Signature=***&X-Amz-Date=1"),
        ("postgresql://h/db?user=me&password=x&sslmode=require",
         "postgresql://h/db?user=me&password=***&sslmode=require"),
        ("to host=h password=abc dbname=d", "to host=h password=*** dbname=d"),
        ("password='a b' user=c", "password=*** user=c"),
        ("MLFLOW_TRACKING_PASSWORD=abc", "MLFLOW_TRACKING_PASSWORD=***"),
        ("Authorization: Bearer abcdefgh12", "Authorization: Bearer ***"),
    ],
)  # fmt: skip
def test_secrets_are_hidden_and_the_rest_stays(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert redact(expected) == expected
    assert has_secret(text)
    assert not has_secret(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sqlite:////home/me@work/mlflow.db",
        "There is no study at journal:///home/me@work/a.journal. Name another.",
        "http://127.0.0.1:5000/#/experiments/1/runs?orderByKey=metrics.`objective`",
        "The database does not answer. Check that user, password and database are right.",
        "write to me@example.org",
        "csv:/data/x.csv?smiles=mol&labels=a,b",
        "tau=3 head_arch=mlp authors=2",
    ],
)
def test_a_text_without_secrets_stays(text: str) -> None:
    assert redact(text) == text
    assert without_login(text) == text


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(SCHEMES), PLAIN, SECRET, st.booleans())
def test_no_password_of_an_address_is_ever_shown(
    scheme: str, user: str, secret: str, encode: bool
) -> None:
    written = quote(secret, safe="") if encode else secret
    address = f"{scheme}://{user.replace(':', '')}:{written}@host.example:5432/db"
    for told in (redact(address), without_login(address)):
        assert not shown(told, secret)
        assert told.endswith("host.example:5432/db")
    for error in (
        f"{address}",
        f"MLflow at {address} failed: {address!r}",
        f"could not connect: {secret} ({quote(secret, safe='')}, {quote_plus(secret)})",
    ):
        assert not shown(redact(error, address), secret)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(SCHEMES), PLAIN, SECRET, PLAIN)
def test_in_any_text_a_password_without_blanks_is_hidden(
    scheme: str, user: str, secret: str, around: str
) -> None:
    user, secret = ("".join(part.split()) for part in (user, secret))
    told = redact(f"first, {around} ({scheme}://{user}:{secret}@host/db) {around}")
    assert not shown(told, secret)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(
        ["token", "access_token", "password", "X-Amz-Signature", "X-Amz-Credential", "api_key",
         "AWSAccessKeyId", "sig", "client_secret", "sslpassword", "X-Goog-Signature", "Auth"]
    ),
    SECRET,
    st.sampled_from("?&;#"),
)  # fmt: skip
def test_no_secret_parameter_is_ever_shown(name: str, secret: str, before: str) -> None:
    told = redact(f"GET https://host/file?page=1{before}{name}={quote(secret, safe='')}&n=2 failed")
    assert not shown(told, secret)
    assert told.endswith("&n=2 failed")


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=200))
def test_redacting_twice_changes_nothing(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize("unit", ["://", "a@", "?token", "password", "?a", "bearer ", "x", "' "])
def test_long_texts_take_no_long_time(unit: str) -> None:
    started = time.process_time()
    redact(unit * (200_000 // len(unit)))
    assert time.process_time() - started < 5
