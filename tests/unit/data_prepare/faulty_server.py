"""A web server with faults on order: of a folder, or of another server that it stands before."""

import http.client
import re
import socket
import struct
import threading
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from data_prepare.retry import RetryOptions

QUICK = RetryOptions(max_tries=4, first_wait_s=0.01, max_wait_s=0.02, timeout_s=30.0)
IMPATIENT = RetryOptions(max_tries=20, first_wait_s=0.01, max_wait_s=0.02, timeout_s=0.5)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class FaultyServer(ThreadingHTTPServer):
    """Serves until the end of its `with` block.

    Faults of `fail`: "reset" (connection reset in mid-body), "cut" (closed in mid-body), "stall"
    (nothing more in mid-body), "slow" (no answer), "short_length" (Content-Length and body too
    small), "flip" (a wrong byte), or a status such as 503.
    """

    daemon_threads = True
    request_queue_size = 128  # more than 5 connections at once else wait for seconds
    block_on_close = False

    def __init__(self, source: Path | int, *, has_ranges: bool = True, says_length: bool = True):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.source = source
        self.has_ranges = has_ranges
        self.says_length = says_length
        self.requests: list[tuple[str, str]] = []
        self.paths: list[str] = []
        self.ended = threading.Event()
        self._faults: dict[tuple[str, str], list[Any]] = defaultdict(list)
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fail(self, name: str, *faults: Any, method: str = "GET") -> None:
        """Answer the next requests of a file with these faults, one each."""
        with self._lock:
            self._faults[method, name] += faults

    def next_fault(self, method: str, path: str) -> Any:
        name = path.partition("?")[0].rsplit("/", 1)[-1]
        with self._lock:
            self.requests.append((method, name))
            self.paths.append(path)
            faults = self._faults[method, name]
            return faults.pop(0) if faults else None

    def num_requests(self, method: str = "GET") -> Counter[str]:
        with self._lock:
            return Counter(name for verb, name in self.requests if verb == method)

    def __enter__(self) -> "FaultyServer":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients go away on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: FaultyServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        # The question whether ranges are given is no reading.
        is_probe = self.headers.get("Range") == "bytes=0-0"
        fault = self.server.next_fault("PROBE" if is_probe else self.command, self.path)
        if fault == "slow":
            self.server.ended.wait(60)
            self.close_connection = True
            return
        if isinstance(fault, int):
            answer = Answer(fault, {"Retry-After": "0"}, b"fault")
        elif isinstance(self.server.source, Path):
            answer = self._from_folder(self.server.source)
        else:
            answer = self._from_server(self.server.source)
        self._send(answer, fault)

    def _from_folder(self, folder: Path) -> Answer:
        path = folder / self.path.partition("?")[0].lstrip("/")
        if not path.is_file():
            return Answer(404, {}, b"absent")
        body, wanted = (
            path.read_bytes(),
            re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or ""),
        )
        if not self.server.has_ranges or not wanted:
            return Answer(200, {}, body)
        first, last = int(wanted[1]), min(int(wanted[2] or len(body)), len(body) - 1)
        if first > last:
            return Answer(416, {"Content-Range": f"bytes */{len(body)}"}, b"")
        headers = {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
        return Answer(206, headers, body[first : last + 1])

    def _from_server(self, port: int) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request(self.command, self.path, headers=dict(self.headers))
        found = connection.getresponse()
        hidden = ("transfer-encoding", "connection", "server", "date")
        headers = {name: value for name, value in found.getheaders() if name.lower() not in hidden}
        body = found.read()
        connection.close()
        return Answer(found.status, headers, body)

    def _send(self, answer: Answer, fault: Any) -> None:
        body = answer.body
        half = len(body) // 2
        if fault == "flip":
            body = body[:half] + bytes([body[half] ^ 1]) + body[half + 1 :]
        if fault == "short_length":
            body = body[:half]
        headers = dict(answer.headers)
        if self.command == "GET" or "Content-Length" not in headers:
            headers["Content-Length"] = str(len(body))
        if not self.server.says_length:
            del headers["Content-Length"]
            self.close_connection = True
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "GET":
            self._send_body(body, fault, half=half)

    def _send_body(self, body: bytes, fault: Any, *, half: int) -> None:
        if fault not in ("reset", "cut", "stall"):
            self.wfile.write(body)
            return
        self.wfile.write(body[:half])
        self.wfile.flush()
        self.close_connection = True
        if fault == "stall":
            self.server.ended.wait(60)
        if fault == "reset":
            # Closing now sends a reset instead of a proper end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
