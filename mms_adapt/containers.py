"""What can be told of an audio file without decoding it: is it there, is it whole, will its decoder be loud.

In: a path. Out: a `Container`. Decoders do not complain about a file that ends early: half a WAV is to them a
shorter WAV. But the header still says how long the file should be. It knows neither samples nor the package.
"""

import ctypes
import mmap
import platform
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_SLACK_BYTES = 4096  # some writers count their own header wrongly
_UNKNOWN = 0x7FFF_0000  # and some write about this, or more, where they do not know the length yet
_QUIET = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b".snd", b"riff", b"caff")
_LONGEST_PAGE = 65_307  # of Ogg
_TABLES = (b"Xing", b"Info", b"VBRI")  # in the first frame of an MP3 that says how long it is
_RATES_HZ = (44_100, 48_000, 32_000)
_KILOBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KILOBITS_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


@dataclass(frozen=True, slots=True)
class Container:
    """A file as seen from outside.

    Attributes:
        unreadable: Why it cannot be opened, in words; "" where it can.
        missing: What is missing at its end, in words; "" where it is whole or does not say.
        noisy: Whether its decoder prints to standard error.
        sample_count: Samples of an MP3 that does not say how long it is, counted; decoders guess, and stop
            where they guess the end. None of all other files.
    """

    unreadable: str = ""
    missing: str = ""
    noisy: bool = False
    sample_count: int | None = None


def look(path: Path) -> Container:
    """Look at a file's first and last bytes."""
    if not path.is_file():
        return Container("this is a folder" if path.is_dir() else "there is no such recording")
    try:
        with path.open("rb") as file:
            head, size = file.read(64), path.stat().st_size
            missing = _ogg(file, size) if head[:4] == b"OggS" else _declared(head, size)
            noisy = not head.startswith(_QUIET)
            return Container("", missing, noisy, _mpeg_samples(file) if noisy and size else None)
    except OSError as error:
        return Container(f"it cannot be opened: {error.strerror}")


def _declared(head: bytes, size: int) -> str:
    """Compare the length that a header declares with the file's."""
    layouts = {b"RIFF": ("<4xI", 8), b"FORM": (">4xI", 8), b"RF64": ("<20xQ", 8), b"riff": ("<16xQ", 0)}
    if len(head) < 32 or head[:4] not in {*layouts, b".snd"}:
        return ""
    if head[:4] == b".snd":
        start, length = struct.unpack_from(">4xII", head)
        declared = start + length
    else:
        layout, beside = layouts[head[:4]]
        declared = length = struct.unpack_from(layout, head)[0]
        declared += beside
    if declared <= size + _SLACK_BYTES or (length >= _UNKNOWN and head[:4] not in (b"RF64", b"riff")):
        return ""
    return f"the file has {size:,} of the {declared:,} bytes that its header declares"


def _ogg(file: BinaryIO, size: int) -> str:
    """Look for the flag that an Ogg stream's last page carries."""
    file.seek(max(0, size - _LONGEST_PAGE))
    tail = file.read()
    page = tail.rfind(b"OggS")
    header = tail[page : page + 27]
    if page < 0 or len(header) < 27:
        whole = False
    else:  # an ending page's flag is 4; behind its header stand the lengths of its segments
        lengths = tail[page + 27 : page + 27 + header[26]]
        whole = bool(header[5] & 4) and len(tail) >= page + 27 + header[26] + sum(lengths)
    return "" if whole else "the Ogg stream has no end: the file is cut short"


def _mpeg_samples(file: BinaryIO) -> int | None:
    """Count the samples of MPEG audio, layer III, that carries no table of its length; None of all else."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place = sample_count = 0
        if data[:3] == b"ID3":  # a tag, its size in seven bits a byte
            place = 10 + sum(byte << 7 * (3 - power) for power, byte in enumerate(data[6:10]))
        while 0 <= place < len(data) - 4:
            header = int.from_bytes(data[place : place + 4], "big")
            version, layer, bits, rate = (
                header >> 19 & 3,
                header >> 17 & 3,
                header >> 12 & 15,
                header >> 10 & 3,
            )
            if header >> 21 != 0x7FF or version == 1 or layer != 1 or bits in (0, 15) or rate == 3:
                if not sample_count:
                    return None
                place = data.find(b"\xff", place + 1)  # junk between frames
                continue
            if not sample_count and any(data.find(tag, place, place + 200) > 0 for tag in _TABLES):
                return None
            rate_hz = _RATES_HZ[rate] >> (0, 0, 1, 0)[version] >> (2 if version == 0 else 0)
            kilobits = (_KILOBITS if version == 3 else _KILOBITS_LOW)[bits]
            sample_count += 1152 if version == 3 else 576
            place += (144_000 if version == 3 else 72_000) * kilobits // rate_hz + (header >> 9 & 1)
        return sample_count or None


class _Hush:
    """Points C's `stderr` to nowhere while at least one decoder is at work.

    The MP3 decoder complains there, also about seeking in healthy files. Python writes to the descriptor and
    not to C's stream, so its errors and progress bars still come through, from other threads too. Done where
    C's library is known to allow it, which is glibc; elsewhere the decoder is heard.
    """

    def __init__(self) -> None:
        self._lock, self._users = threading.Lock(), 0
        self._kept: int | None = None
        self._nowhere: int | None = None
        self._stream: ctypes.c_void_p | None = None
        if platform.libc_ver()[0] == "glibc":
            library = ctypes.CDLL(None)
            library.fopen.restype = ctypes.c_void_p
            self._stream = ctypes.c_void_p.in_dll(library, "stderr")
            self._nowhere = library.fopen(b"/dev/null", b"w")

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1 and self._stream is not None and self._nowhere:
                self._kept, self._stream.value = self._stream.value, self._nowhere

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users and self._stream is not None and self._nowhere:
                self._stream.value = self._kept


_hush: list[_Hush] = []  # made when the first loud decoder is met
_making = threading.Lock()


@contextmanager
def hushed(noisy: bool) -> Iterator[None]:
    """Keep what a noisy decoder prints out of the terminal while the block runs."""
    if not noisy:
        yield
        return
    with _making:
        if not _hush:
            _hush.append(_Hush())
    with _hush[0]:
        yield
