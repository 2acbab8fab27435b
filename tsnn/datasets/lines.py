"""Lines of text files: opening, decompressing, encoding, records with quotes, and the delimiter between fields."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import itertools
import lzma
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import IO, Any, TextIO, TypeVar, cast

from tsnn.datasets.raw import refuse_if_too_big
from tsnn.errors import DataError

COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zip")
SEPARATORS = {"tab": "\t", "semicolon": ";", "pipe": "|", "comma": ",", "blanks": " "}

_SAMPLE_LINES, _SAMPLE_CHARACTERS = 1000, 4_000_000
_QUOTED = re.compile(r'"[^"]*"')
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?")
_NUMBERS_AND_BLANKS = re.compile(r"\s*[+-]?[\d.]+(e[+-]?\d+)? +[+-]?[\d.]+(e[+-]?\d+)? .*", re.IGNORECASE | re.DOTALL)
_T = TypeVar("_T")


# --- files -------------------------------------------------------------------------------------------


def open_text(path: Path, encoding: str) -> TextIO:
    """Open a text file, decompressing it if its name says so; all line ends become newlines."""
    return io.TextIOWrapper(cast(IO[bytes], open_bytes(path)), encoding=encoding)


def open_bytes(path: Path) -> Any:
    """Open a file, decompressing it if its name says so."""
    suffix = path.suffix.lower()
    if suffix == ".zip":
        archive = zipfile.ZipFile(path)
        member = _only_member(archive, path)
        refuse_if_too_big(6 * archive.getinfo(member).file_size, path)
        return archive.open(member)
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    return openers.get(suffix, open)(path, "rb")


def _only_member(archive: zipfile.ZipFile, path: Path) -> str:
    names = [name for name in archive.namelist() if not name.endswith("/")]
    names = [name for name in names if not name.startswith("__MACOSX") and not PurePath(name).name.startswith(".")]
    if len(names) != 1:
        raise DataError(
            f"{path} holds {len(names)} files ({', '.join(names[:5]) or 'none'}); expected one table. Unpack it and "
            "give the path of the table."
        )
    return names[0]


def find_encoding(head: bytes, path: Path) -> str:
    """Return the encoding of a text file by its first bytes."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    zeros = [head[i::2].count(0) * 4 > len(head) for i in (0, 1)]  # over half of every second byte
    if zeros == [False, True]:
        return "utf-16-le"
    if zeros == [True, False]:
        return "utf-16-be"
    if 0 in head:
        raise DataError(f"{path} is no text: it holds bytes of value 0. Save it as CSV with UTF-8.")
    return "utf-8-sig"


def skip_lines(stream: TextIO, lines: int) -> None:
    """Read and forget a number of lines."""
    for _ in itertools.islice(stream, lines):
        pass


# --- lines and fields --------------------------------------------------------------------------------


def _split_quoted(text: str, delimiter: str) -> list[str] | None:
    """Return the fields of a line with quotes; None if a quoted field continues in the next line."""
    if delimiter == " ":
        if text.count('"') % 2:
            return None
        return [field.replace('"', "") for field in re.findall(r'(?:"[^"]*"|[^\s"])+', text)]
    fields, position, mark = [], 0, re.escape(delimiter)
    text = text.removesuffix("\n")
    pattern = re.compile(rf' *(?:"((?:[^"]|"")*)"([^"{mark}]*)|([^{mark}]*))({mark}|\Z)')
    while match := pattern.match(text, position):
        quoted, rest, plain, end = match.groups()
        if plain is not None and plain.startswith('"'):
            return None
        fields.append(plain if plain is not None else quoted.replace('""', '"') + rest)
        position = match.end()
        if end != delimiter:
            break
    return fields


def _split(line: str, delimiter: str) -> list[str] | None:
    """Return the fields of a line; None if it has quotes."""
    if '"' in line:
        return None
    return line.split() if delimiter == " " else line.rstrip("\n").split(delimiter)


def _count(line: str, delimiter: str) -> int | None:
    """Return the number of fields of a line; None if a quoted one continues in the next line."""
    bare = _QUOTED.sub("q", line) if '"' in line else line
    if '"' in bare:
        return None
    return len(bare.split()) if delimiter == " " else bare.count(delimiter) + 1


def _is_blank(line: str, delimiter: str) -> bool:
    return not line.strip() and delimiter not in line.strip("\n ")


def read_records(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the last line of each record, from 1, and its fields; blank lines are skipped.

    A quoted field that does not end gives the number -1.
    """
    return _records(lines, delimiter, _split, list)


def count_fields(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, int]]:
    """Yield the same as :func:`read_records`, with the number of fields instead of the fields; faster."""
    return _records(lines, delimiter, _count, len)


def _records(
    lines: Iterable[str],
    delimiter: str,
    of_line: Callable[[str, str], _T | None],
    of_fields: Callable[[list[str]], _T],
) -> Iterator[tuple[int, _T]]:
    """Yield numbers of records with the results of ``of_line``, or where that is None, of ``of_fields``."""
    pending = ""
    for number, line in enumerate(lines, 1):
        if not pending:
            if _is_blank(line, delimiter):
                continue
            if (found := of_line(line, delimiter)) is not None:
                yield number, found
                continue
        pending += line
        fields = _split_quoted(pending, delimiter) if '"' in line else None
        if fields is not None:
            yield number, of_fields(fields)
            pending = ""
    if pending:
        yield -1, of_fields([])


# --- delimiter ---------------------------------------------------------------------------------------


def take_sample(stream: TextIO) -> Iterator[str]:
    """Yield the first lines: a thousand, or fewer if they are long."""
    total = 0
    for count, line in enumerate(itertools.islice(stream, _SAMPLE_LINES)):
        total += len(line)
        if total > _SAMPLE_CHARACTERS and count > 20:
            return
        yield line


def find_delimiter(sample: list[str]) -> str:
    """Return the mark that gives all lines the same number of fields, more than one; else the likeliest mark."""
    counts = {mark: [n for number, n in count_fields(sample, mark) if number > 0] for mark in SEPARATORS.values()}
    if all(_fits(counts[mark]) for mark in (",", " ")) and _are_numbers_with_commas(sample):
        return " "
    if all(_fits(counts[mark]) for mark in ("\t", " ")) and all(map(_NUMBERS_AND_BLANKS.fullmatch, sample)):
        return " "  # a lone tab among blanks
    marks = list(SEPARATORS.values())[:4]
    if not any(sum(n > 1 for n in counts[mark]) > len(counts[mark]) / 2 for mark in marks):
        marks.append(" ")
    for shorter in (0, 1):
        for mark in marks:
            if _fits(counts[mark], shorter):
                return mark
    return max(marks, key=lambda mark: max((times for n, times in Counter(counts[mark]).items() if n > 1), default=0))


def _fits(counts: list[int], shorter: int = 0) -> bool:
    """Return whether all records have the same number of fields; the first, R's header, ``shorter`` fields fewer."""
    body = set(counts[1:] or counts)
    return len(body) == 1 and max(body) > 1 and max(body) - counts[0] == shorter


def _are_numbers_with_commas(sample: list[str]) -> bool:
    """Return whether blanks separate numbers with decimal commas in all lines but the first."""
    lines = [line.split() for line in sample[1:] if line.strip()]
    return bool(lines) and all(_DECIMAL_COMMA.fullmatch(cell) for cells in lines for cell in cells)


def inner_name(path: Path) -> PurePath:
    """Return the name of a file without the suffix of its compression; of a .zip, the name of the one file in it."""
    suffix = path.suffix.lower()
    if suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return PurePath(_only_member(archive, path))
    return PurePath(path.stem if suffix in COMPRESSED_SUFFIXES else path.name)
