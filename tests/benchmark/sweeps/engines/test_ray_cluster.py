"""Joining a Ray cluster: where there is none, one line says so at once. No cluster runs here."""

import http.server
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from benchmark.__main__ import main
from benchmark.sweeps.engines.ray_cluster import connect
from tests.helpers.sweep_helpers import SUITE


@pytest.fixture
def port_of_a_web_server() -> Iterator[int]:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def port_that_wants_a_token() -> Iterator[int]:
    class Guard(grpc.ServerInterceptor):
        def intercept_service(self, continuation: Any, details: Any) -> Any:
            def refuse(request: bytes, context: grpc.ServicerContext) -> None:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")

            return grpc.unary_unary_rpc_method_handler(refuse)

    server = grpc.server(futures.ThreadPoolExecutor(1), interceptors=[Guard()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["", "ray://"])
def test_an_address_where_no_cluster_answers(kind: str, port_of_a_web_server: int) -> None:
    for target in ("127.0.0.1:1", "no-such-host.invalid:6379", f"127.0.0.1:{port_of_a_web_server}"):
        with pytest.raises(ValueError, match=f"^no Ray cluster answers at {kind}{target}$"):
            connect(kind + target, 1)


@pytest.mark.parametrize("address", ["somewhere", "ray://somewhere", "host:", ":6379", "host:port", "http://host"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match=f"^--address {address}: must be auto, local, HOST:PORT or ray://HOST:PORT$"):
        connect(address, 1)


def test_a_cluster_that_wants_a_token(port_that_wants_a_token: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(ValueError, match="asks for its token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN"):
        connect(f"127.0.0.1:{port_that_wants_a_token}", 1)


def test_the_address_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ValueError, match="no Ray cluster answers at 127.0.0.1:1"):
        connect(None, 1)
    with pytest.raises(ValueError, match="no Ray cluster answers at 127.0.0.1:2"):
        connect("127.0.0.1:2", 1)


def test_mistakes_are_one_line_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(SUITE)
    words = ["sweep", f"--suite={tmp_path / 'tiny.yaml'}", "--models=transformer", "--seeds=0", "--engine=ray"]
    words.append(f"--out={tmp_path / 'out'}")
    assert main([*words, "--address=127.0.0.1:1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "127.0.0.1:1" in line
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # or a token would be left in this process's environment
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    assert main(words) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: --engine ray needs Ray (") and line.count("\n") == 1
    assert line.endswith("pip install emergence-benchmark[ray]\n")
    assert not list((tmp_path / "out").iterdir())
