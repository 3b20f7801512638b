"""A model hub on this machine, and an empty cache to fetch into."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.hub_server import Hub

_CONNECT, _LOOK_UP = socket.socket.connect, socket.getaddrinfo


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None) -> Iterator[Hub]:
    """A hub that answers at 127.0.0.1 and is the one that is asked; every other address stays refused."""
    refuse, refuse_lookup = socket.socket.connect, socket.getaddrinfo

    def connect(sock: socket.socket, address: object) -> None:
        here = isinstance(address, tuple) and address[0] == "127.0.0.1"
        return (_CONNECT if here else refuse)(sock, address)  # type: ignore[arg-type]

    def look_up(host: object, *more: object, **settings: object) -> object:
        return (_LOOK_UP if host == "127.0.0.1" else refuse_lookup)(host, *more, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    for name in ("HF_HUB_OFFLINE", "LAYERCLI_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_CACHE", os.fspath(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "cache"))
    server = Hub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
