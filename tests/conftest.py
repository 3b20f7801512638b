"""What holds for every test: no network, and one thread so that results do not depend on the machine."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import settings

# A busy machine must not fail a law; how long things take is the benchmarks' business.
settings.register_profile("layercli", deadline=None)
settings.load_profile("layercli")

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["LAYERCLI_OFFLINE"] = "1"  # no net is fetched: what is tested is what runs on every machine
os.environ["MESA_SHADER_CACHE_DISABLE"] = "true"  # which would lie in the folder below
os.environ["XDG_CACHE_HOME"] = os.environ["U2NET_HOME"] = os.path.join(os.path.dirname(__file__), "no-cache")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves the process for a network address."""

    connect = socket.socket.connect

    def refuse(sock: socket.socket, address: object) -> None:
        if sock.family == getattr(socket, "AF_UNIX", None):
            return connect(sock, address)  # type: ignore[arg-type]
        raise AssertionError(f"a test tried to reach {address!r}")

    def refuse_lookup(host: object, *_: object, **__: object) -> None:
        raise AssertionError(f"a test tried to look up {host!r}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse_lookup)
