"""The fixture that refuses the network does refuse it."""

import socket
import urllib.request

import pytest


def test_a_connection_is_refused():
    with pytest.raises(AssertionError, match="tried to reach"):
        socket.socket().connect(("127.0.0.1", 9))


def test_a_download_is_refused():
    with pytest.raises(AssertionError, match="tried to"):
        urllib.request.urlopen("http://example.invalid/")
