import errno
import io
import tarfile
import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from energytune.data import download as download_module
from energytune.data import load_dataset
from energytune.data import stl10_files as stl10_module
from energytune.data.download import fetch_members
from energytune.errors import MissingDataError, OutputError
from energytune.progress import NO_PROGRESS


def pack(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def serve():
    """Serves bytes from this machine; ``told`` is the length that is announced."""
    servers = []

    class Handler(BaseHTTPRequestHandler):
        def __init__(self, content, told, *args):
            self.content, self.told = content, told
            super().__init__(*args)

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(self.told))
            self.end_headers()
            self.wfile.write(self.content)

        def log_message(self, *args):
            pass

    def start(content: bytes, told: int | None = None) -> str:
        told = len(content) if told is None else told
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, content, told))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/archive.tar.gz"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Watch:
    def __init__(self):
        self.stages = []

    @contextmanager
    def stage(self, name, total):
        done = [0]
        self.stages.append((name, total, done))

        def advance(n):
            done[0] += n

        yield advance


def fetch(url, names, folder, progress=NO_PROGRESS):
    return fetch_members(url, names, folder, label="downloading", progress=progress)


def test_only_wanted_files_are_written_and_progress_is_told(serve, tmp_path):
    content = pack({"top/a.bin": b"A" * 5000, "top/huge.bin": b"H" * 9000, "top/b.txt": b"B"})
    watch = Watch()
    assert fetch(serve(content), ["a.bin", "b.txt"], tmp_path / "new", watch) == ""
    assert {p.name: p.read_bytes() for p in (tmp_path / "new").iterdir()} == {
        "a.bin": b"A" * 5000,
        "b.txt": b"B",
    }
    [(name, total, done)] = watch.stages
    assert (name, total) == ("downloading", len(content))
    assert 0 < done[0] <= total


def test_members_cannot_leave_the_folder(serve, tmp_path):
    content = pack({"../../a.bin": b"A"})
    assert fetch(serve(content), ["a.bin"], tmp_path / "x" / "y") == ""
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.bin")] == ["x/y/a.bin"]


def test_broken_transfer_leaves_no_half_file(serve, tmp_path):
    content = pack({"a.bin": bytes(range(256)) * 4000})
    for damaged in (content[: len(content) // 2], b"<html>not found</html>", b""):
        why = fetch(serve(damaged, told=len(content)), ["a.bin"], tmp_path / "x")
        assert "broke off" in why
        assert list(tmp_path.rglob("*.*")) == []


def test_archive_without_the_file(serve, tmp_path):
    assert "has no b.bin" in fetch(serve(pack({"a.bin": b"A"})), ["b.bin"], tmp_path)


def test_unreachable_server_is_told(tmp_path):
    why = fetch("http://127.0.0.1:9/archive.tar.gz", ["a.bin"], tmp_path)
    assert why.startswith("Downloading http://127.0.0.1:9/archive.tar.gz failed: ")


def test_silent_network_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(download_module, "_CONNECT_S", 0.05)
    silence = threading.Event()
    monkeypatch.setattr(
        download_module.urllib.request, "urlopen", lambda *args, **kwargs: silence.wait(30)
    )
    assert "no answer within 0.05 seconds" in fetch("http://x.invalid/a", ["a.bin"], tmp_path)
    silence.set()


def test_full_disk_is_no_network_error(serve, tmp_path, monkeypatch):
    @contextmanager
    def full(path, advice):
        raise OutputError(f"{path} can't be written: {errno.ENOSPC}. {advice}")
        yield

    monkeypatch.setattr(download_module, "atomic_file", full)
    with pytest.raises(OutputError, match=r"a.bin can't be written.*--data-root"):
        fetch(serve(pack({"a.bin": b"A"})), ["a.bin"], tmp_path)


def test_folder_that_is_a_file(serve, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="can't be written"):
        fetch(serve(pack({"a.bin": b"A"})), ["a.bin"], tmp_path / "taken")


def test_stl10_is_downloaded_when_missing(serve, stl10_root, tmp_path, monkeypatch):
    source = stl10_root / "stl10_binary"
    files = {f"stl10_binary/{p.name}": p.read_bytes() for p in sorted(source.iterdir())}
    files["stl10_binary/unlabeled_X.bin"] = b"U" * 1000
    monkeypatch.setattr(stl10_module, "URL", serve(pack(files)))
    root = tmp_path / "fresh"
    watch = Watch()
    splits = load_dataset("stl10", data_root=root, loader_workers=0, progress=watch)
    assert len(splits.train) == 80
    assert watch.stages[0][0] == "downloading stl10"
    assert not (root / "stl10_binary" / "unlabeled_X.bin").exists()
    assert splits.protocol == load_dataset("stl10", data_root=stl10_root).protocol


def test_stl10_offline_says_all_that_helps(tmp_path, monkeypatch):
    monkeypatch.setattr(stl10_module, "URL", "http://127.0.0.1:9/stl10_binary.tar.gz")
    with pytest.raises(MissingDataError, match=r"failed: .*--data-root DIR"):
        load_dataset("stl10", data_root=tmp_path)
