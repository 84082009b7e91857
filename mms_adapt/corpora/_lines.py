"""Text files of a corpus, line by line, whatever wrote them.

In: a file. Out: its lines with their numbers, or cells of lines. UTF-8 is expected; UTF-16 is known by its
first bytes. It does not know what the lines mean.
"""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from mms_adapt.errors import CorpusError
from mms_adapt.manifest import shown

_LONGEST = 1 << 16  # of a first line that is looked at
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Return the lines of a file with their numbers, their ends taken off.

    Only "\n" and "\r\n" end a line: transcripts may hold all other separators. Where there is neither, "\r"
    does, as programs for old Macs write.

    Raises:
        CorpusError: If the file is missing or is not UTF-8; it names the line.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_LONGEST)
        if head.startswith(_WIDE):
            text = path.read_bytes().decode("utf-16")
            yield from enumerate((one.removesuffix("\r") for one in text.split("\n")), start=1)
            return
        if 4 * head.count(0) > len(head):
            raise CorpusError(
                f"{path}: this looks like UTF-16 without its first mark; save the file in UTF-8"
            )
        if b"\r" in head and b"\n" not in head:
            yield from enumerate(path.read_bytes().decode("utf-8-sig").split("\r"), start=1)
            return
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise CorpusError(
                        f"{path}:{number}: byte {error.start + 1} is not UTF-8; save the file in UTF-8"
                    ) from error
                yield number, text.removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: this is not {error.encoding} to its end; save it in UTF-8") from error
    except OSError as error:
        raise CorpusError(f"{path}: this file cannot be read: {error.strerror}") from error


def first_line(path: Path) -> str:
    """Return the first line of a file as far as it can be read, "" where there is no such file."""
    try:
        with path.open("rb") as file:
            head = file.read(_LONGEST)
    except OSError:
        return ""
    wide = head.startswith(_WIDE)
    text = head.decode("utf-16" if wide else "utf-8-sig", errors="ignore")
    return text.partition("\n" if "\n" in text else "\r")[0].removesuffix("\r")


def cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Return the cells between tabs of every line that is not empty; quotes mean nothing.

    Raises:
        CorpusError: If the file cannot be read.
    """
    for number, line in lines(path):
        if line.strip():
            yield number, line.split("\t")


def pairs(path: Path) -> Iterator[tuple[int, str, str]]:
    """Return the first word of every line that is not empty, and what follows it, "" where nothing does.

    Raises:
        CorpusError: If the file cannot be read, or a first word comes twice; it names the line.
    """
    seen: dict[str, int] = {}
    for number, line in lines(path):
        word, *rest = re.split(r"[ \t]+", line.strip(" \t"), maxsplit=1)
        if not word:
            continue
        first = seen.setdefault(word, number)
        if first != number:
            raise CorpusError(
                f"{path}:{number}: {shown(word)} stands in line {first} already; keep one of the two"
            )
        yield number, word, rest[0] if rest else ""
