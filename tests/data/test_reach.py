import threading

from energytune.data import reach
from energytune.data.reach import unreachable


def test_any_answer_counts(serve):
    url = serve({"here": b"x"})
    assert unreachable(url + "here") == ""
    assert unreachable(url + "not-here") == ""


def test_a_closed_port_and_no_address_are_told():
    assert "refused" in unreachable("http://127.0.0.1:9/")
    assert unreachable("nonsense")


def test_silence_is_given_up(monkeypatch):
    silence = threading.Event()
    monkeypatch.setattr(reach, "_REACH_S", 0.05)
    monkeypatch.setattr(reach.urllib.request, "urlopen", lambda *a, **k: silence.wait(30) and None)
    assert unreachable("http://x.invalid/") == "no answer within 0.05 seconds"
    silence.set()
