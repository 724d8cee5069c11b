import numpy as np
import pytest
from PIL import Image

from energytune.data.file_checks import check_file, file_md5
from energytune.data.image_digests import examine_images
from energytune.data.image_reading import is_image_name, read_image
from energytune.data.image_sources import FileImages
from energytune.errors import DataError, OutputError
from energytune.progress import NO_PROGRESS
from tests.data.image_files import md5, pixels, save_image


@pytest.mark.parametrize("suffix", ["bmp", "gif", "jpg", "png", "ppm", "tif", "webp"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_formats_are_read_and_outlive_their_file(tmp_path, suffix, mode):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(pixels(0, 9, 9, 3)).convert(mode).save(path)
    picture = read_image(path)
    path.unlink()
    assert picture.convert("RGB").resize((4, 4)).size == (4, 4)
    assert is_image_name(path.name.upper())


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_more_than_8_bits_are_refused(tmp_path, dtype):
    path = tmp_path / "x.tif"
    Image.fromarray(np.full((4, 4), 300, dtype=dtype)).save(path)
    with pytest.raises(DataError, match="more than 8 bits"):
        read_image(path)


def test_names_of_any_bytes_survive(tmp_path):
    names = ["é/ü.png", "b\udcff.png"]
    for seed, name in enumerate(names):
        save_image(tmp_path / name, seed)
    source = FileImages(tmp_path, names, np.array([0, 1]), ["a", "b"])
    assert source.keys() == names
    assert source.path(1) == tmp_path / names[1]
    assert np.array_equal(np.array(source[1][0]), pixels(1, 12, 12, 3))
    assert len(source.identity([0, 1])) == 64
    found = examine_images(tmp_path, names, decode=True, label="x", progress=NO_PROGRESS)
    assert found.problems == {}


def test_a_hash_alone_does_not_count_as_decoded(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no image")
    for decode, n_problems in ((False, 0), (True, 1), (True, 1), (False, 1)):
        found = examine_images(tmp_path, ["x.png"], decode=decode, label="x", progress=NO_PROGRESS)
        assert len(found.problems) == n_problems
        assert len(found.digests[0]) == 64


def test_an_unusable_note_costs_only_time(tmp_path, monkeypatch):
    from energytune.data import file_checks

    path = save_image(tmp_path / "x.png")
    note = tmp_path / "note.json"
    monkeypatch.setattr(file_checks, "note_path", lambda key: note)
    for content in ("", "{", "[]", '{"md5": "0"}'):
        note.write_text(content)
        assert file_md5(path) == md5(path)

    def refuse(*args):
        raise OutputError("full")

    note.unlink()
    monkeypatch.setattr(file_checks, "atomic_file", refuse)
    assert check_file(path, md5(path)) == md5(path)
    with pytest.raises(DataError, match="its md5 must be 0, got"):
        check_file(path, "0")
