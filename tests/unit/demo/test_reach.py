"""Whether this machine reaches a Service by its cluster address."""

from __future__ import annotations

import socket
from threading import Timer

import pytest

from modelyard_local.demo.reach import _connects


def test_a_service_whose_pod_is_not_known_yet_is_asked_again() -> None:
    with socket.socket() as service:
        service.bind(("127.0.0.1", 0))  # Refuses until it listens.
        known = Timer(0.3, service.listen)
        known.start()
        try:
            assert _connects(*service.getsockname(), settle=60)
        finally:
            known.join()


def test_a_service_that_refuses_for_long_is_given_up() -> None:
    with socket.socket() as service:
        service.bind(("127.0.0.1", 0))
        assert not _connects(*service.getsockname(), settle=0.2)


def test_an_address_without_a_route_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def no_answer(address: tuple[str, int], timeout: float) -> None:
        tries.append(address)
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", no_answer)
    assert not _connects("192.0.2.1", 8000, settle=60)
    assert tries == [("192.0.2.1", 8000)]
