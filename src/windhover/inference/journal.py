"""A journal of finished pieces of work in one file: what a killed run can go on from.

Each record is framed by its length and checksum and appended whole, so that a kill at any moment
costs at most the piece in hand. The first record says which run it is; another run's journal is
never continued. Knows nothing of what the pieces are.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

MAGIC = b"windhover journal 1\n"
FRAME = struct.Struct("<QI")  # length of the payload, its CRC-32


class Journal:
    """Records by key, appended as they come; use it in a `with` block."""

    def __init__(self, path: str | Path, run: Mapping[str, Any], resume: bool) -> None:
        """Open the journal of a run.

        Args:
            path: the journal's file.
            run: plain values that together say what this run computes; equal values, equal results.
            resume: go on with a journal of the same run, where there is one; else begin anew.
        """
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._places: dict[str, tuple[int, int]] = {}
        name = json.dumps(run, sort_keys=True).encode()
        self.resumed = resume and self.path.is_file() and self._recover(name)
        self._stream = self.path.open("r+b" if self.resumed else "w+b")
        if self.resumed:
            self._stream.truncate(self._end)
            self._stream.seek(self._end)
        else:
            self._places.clear()
            self._stream.write(MAGIC)
            self._append(name)
        self._stream.flush()

    def _recover(self, name: bytes) -> bool:
        """Find the whole records; tell whether the journal is of this run."""
        with self.path.open("rb") as stream:
            if stream.read(len(MAGIC)) != MAGIC:
                return False
            first = True
            self._end = stream.tell()
            while (frame := stream.read(FRAME.size)) and len(frame) == FRAME.size:
                length, checksum = FRAME.unpack(frame)
                start = stream.tell()
                if start + length > self.path.stat().st_size:
                    break
                payload = stream.read(length)
                if zlib.crc32(payload) != checksum:
                    break
                if first and payload != name:
                    return False
                if not first:
                    key_length = int.from_bytes(payload[:4], "little")
                    key = payload[4 : 4 + key_length].decode()
                    self._places[key] = (start + 4 + key_length, length - 4 - key_length)
                first = False
                self._end = stream.tell()
            return not first

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, key: str, payload: bytes) -> None:
        """Append a finished piece."""
        text = key.encode()
        head = len(text).to_bytes(4, "little") + text
        start = self._append(head + payload)
        self._stream.flush()
        self._places[key] = (start + len(head), len(payload))

    def _append(self, payload: bytes) -> int:
        self._stream.seek(0, 2)
        self._stream.write(FRAME.pack(len(payload), zlib.crc32(payload)))
        start = self._stream.tell()
        self._stream.write(payload)
        return start

    def read(self, key: str) -> bytes:
        """Return a piece.

        Raises:
            KeyError: it is not there.
        """
        start, length = self._places[key]
        self._stream.seek(start)
        return self._stream.read(length)

    def remove(self) -> None:
        """Close the journal and delete its file: the work is done."""
        self._stream.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()
