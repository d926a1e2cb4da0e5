"""A local HTTP server that misbehaves as a test wants it to."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from typing import NamedTuple


class Answer(NamedTuple):
    """How one request is answered; the last answer of a list serves all further requests.

    Attributes:
      body: the whole file.
      send: how many bytes of it are sent before the connection is dropped, or None for all.
      stall: whether the connection is left open and silent instead of dropped.
      status: the HTTP status of a whole answer.
      ranges: whether a Range request is honoured.
      length: whether Content-Length is sent.
      chunked: whether the body goes in HTTP chunks (and without Content-Length).
    """

    body: bytes
    send: int | None = None
    stall: bool = False
    status: int = 200
    ranges: bool = True
    length: bool = True
    chunked: bool = False


class Server(NamedTuple):
    """A running server: its address, and the Range header of each request so far."""

    url: str
    requests: list[str | None]


@contextlib.contextmanager
def serving(*answers: Answer) -> Iterator[Server]:
    """Serves the answers in turn from a thread."""
    requests: list[str | None] = []
    closing = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            requests.append(self.headers["Range"])
            answer(self, answers[min(len(requests), len(answers)) - 1], closing)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Server(f"http://127.0.0.1:{server.server_port}/file", requests)
        finally:
            closing.set()
            server.shutdown()
            thread.join()


def answer(handler: http.server.BaseHTTPRequestHandler, how: Answer, closing: threading.Event) -> None:
    """Sends one answer."""
    wanted, start, status = handler.headers["Range"], 0, how.status
    if wanted and how.ranges:
        start, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
    if start and start >= len(how.body):
        status = 416
    handler.send_response(status)
    if status == 206:
        handler.send_header("Content-Range", f"bytes {start}-{len(how.body) - 1}/{len(how.body)}")
    body = how.body[start:]
    if how.chunked:
        handler.send_header("Transfer-Encoding", "chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    elif how.length:
        handler.send_header("Content-Length", str(len(body)))
    handler.send_header("Connection", "close")
    handler.end_headers()
    with contextlib.suppress(ConnectionError):
        handler.wfile.write(body if how.send is None else body[: how.send])
        handler.wfile.flush()
        if how.stall:
            closing.wait()
    handler.close_connection = True
