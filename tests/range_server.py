"""A local HTTP server that serves one folder by ranges, and fails as it is told to.

GDAL reads its rasters by `/vsicurl/`. Faults are counted requests: the first so many answers of a
file are good, the following ones are bad.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

FAULTS = ("500", "503", "404", "half", "long", "short", "reset", "stall", "slow")


class FaultPlan(NamedTuple):
    """When a server fails, and how.

    Attributes:
        fault: what a bad answer is.
        after: number of good answers to GET before the first bad one.
        count: number of bad answers; later ones are good again.
        stall_s: how long a stalled answer takes.
    """

    fault: str = "none"
    after: int = 0
    count: int = 10**9
    stall_s: float = 60.0


@contextmanager
def range_server(folder: Path, plan: FaultPlan) -> Iterator[str]:
    """Serve a folder on a free port of this machine from a process of its own; yield the address.

    GDAL opens a raster without freeing the interpreter, so that a thread could not answer.
    """
    command = [sys.executable, __file__, str(folder), *map(str, plan)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


class _RangeHandler(BaseHTTPRequestHandler):
    """Answers HEAD and GET with a range, badly where the plan asks for it."""

    root: Path
    faults: FaultPlan
    lock = threading.Lock()
    n_requests = 0
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:  # the name that the base class calls
        """Answer with the size of a file."""
        content = self._content()
        if content is None:
            self._refuse(404)
            return
        self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()

    def do_GET(self) -> None:
        """Answer with the range that is asked for, or fail."""
        content = self._content()
        fault = self._next_fault()
        if content is None or fault == "404":
            self._refuse(404)
            return
        if fault in ("500", "503"):
            self._refuse(int(fault))
            return
        if fault == "reset":
            self.close_connection = True
            self.connection.close()
            return
        self._send_range(content, fault)

    @classmethod
    def _next_fault(cls) -> str:
        """Return how the next answer fails."""
        with cls.lock:
            number = cls.n_requests
            cls.n_requests += 1
        if cls.faults.after <= number < cls.faults.after + cls.faults.count:
            return cls.faults.fault
        return "none"

    def _content(self) -> bytes | None:
        path = self.root / self.path.lstrip("/").partition("?")[0]
        return path.read_bytes() if path.is_file() else None

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_range(self, content: bytes, fault: str) -> None:
        """Send the asked bytes; with a fault fewer than the head claims, or none for a while."""
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        last = len(content) - 1
        if asked and asked[2]:
            last = min(int(asked[2]), last)
        body = content[first : last + 1]
        length = len(body)
        if fault == "short":  # a whole answer of fewer bytes
            body = body[: length // 2]
            length = len(body)
        if fault == "long":  # more bytes are claimed than follow
            length += 1000
        if fault == "half":  # the connection ends in the middle
            body = body[: len(body) // 2]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(length))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        if fault == "stall":
            time.sleep(self.faults.stall_s)
            body = b""
        if fault == "slow":
            self._drip(body)
            return
        self.wfile.write(body)
        if len(body) < length:
            self.close_connection = True

    def _drip(self, body: bytes) -> None:
        """Send one byte a second."""
        ends = time.monotonic() + self.faults.stall_s
        for byte in body:
            if time.monotonic() > ends:
                break
            time.sleep(1.0)
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
        self.close_connection = True


def main() -> None:
    """Serve until killed: FOLDER FAULT AFTER COUNT STALL_S."""
    folder, fault, after, count, stall_s = sys.argv[1:]
    _RangeHandler.root = Path(folder)
    _RangeHandler.faults = FaultPlan(fault, int(after), int(count), float(stall_s))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _RangeHandler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
