import pytest

from energytune.data.name_options import (
    FOLDER_OPTIONS,
    HF_OPTIONS,
    OpenName,
    is_path,
    parse_name,
    slug,
)
from energytune.errors import ConfigError


def test_names_are_taken_apart():
    assert parse_name("folder:/a b/c", FOLDER_OPTIONS) == OpenName("folder", "/a b/c", {})
    found = parse_name("hf:org/set?image=img&label=fine", HF_OPTIONS)
    assert found == OpenName("hf", "org/set", {"image": "img", "label": "fine"})
    flag = parse_name("folder:x:y?skip-unreadable", FOLDER_OPTIONS)
    assert flag == OpenName("folder", "x:y", {"skip-unreadable": ""})


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("hf:?label=x", "lacks what 'hf' points to"),
        ("hf:a?lable=x", "unknown option 'lable'. Did you mean 'label'"),
        ("hf:a?zzz", "unknown option 'zzz'. Known: config, image, label"),
        ("hf:a?label=x&label=y", "gives the option 'label' twice"),
        ("hf:a?label", "'label' must be written label=VALUE"),
        ("hf:a?label=", "'label=' must be written label=VALUE"),
        ("folder:a?skip-unreadable=yes", "must be written skip-unreadable"),
    ],
)
def test_bad_options_are_told(name, told):
    known = FOLDER_OPTIONS if name.startswith("folder") else HF_OPTIONS
    with pytest.raises(ConfigError, match=told):
        parse_name(name, known)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("pets", "pets"),
        ("org/my set", "org-my-set"),
        ("a:b%c", "a-b-c"),
        ("...", "x"),
        ("é1", "é1"),
    ],
)
def test_short_names_suit_a_registry(text, short):
    assert slug(text, "x") == short


def test_paths_and_names_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    for target, path in {
        "/a": True,
        "./a": True,
        "~/a": True,
        "here": True,
        "org/a": False,
    }.items():
        assert is_path(target) is path
