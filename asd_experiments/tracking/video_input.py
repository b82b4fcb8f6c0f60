"""A cell of the column `video` of a request: the video itself, or where it lies.

Whoever sends a request may be a stranger. A file or an address is read only where the operator
allows it, and what is said of a refused one never tells what is on this machine.
"""

import binascii
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Thread
from typing import IO
from urllib.parse import unquote, urlsplit

import fsspec

from asd_experiments.errors import InputError
from preprocess.decode import VideoError
from preprocess.scratch import room_for

ROOTS = "ASD_VIDEO_ROOTS"
"""Environment variable: folders and URLs, separated by commas, below which videos may be read.
Empty: none."""

_MODEL_PATH = "__pyfunc_model_path__"  # tells MLflow's scoring server which model to load
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_FILE_URL = re.compile(r"(?:file|local)://(?:localhost(?=/))?", re.IGNORECASE)
_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_WEB = {"http", "https"}
_LONGEST_PLACE = 4096  # characters of a path (PATH_MAX on Linux) or a URL
_BLOCK_BYTES = 2**20
_WHITE_SPACE = b" \t\r\n\v\f"
_BASE64_SLACK = 1.1  # line breaks add 1.3 %


def is_served() -> bool:
    """Whether this process is MLflow's scoring server: `mlflow models serve`, or an image.

    Other servers do not tell. Whoever runs one sets `ROOTS`.
    """
    return _MODEL_PATH in os.environ


class VideoInputError(VideoError):
    """A cell gives no video that may be read here; the message is fit for strangers."""


@dataclass(frozen=True)
class AllowedInput:
    """What may be read for a request."""

    roots: tuple[str, ...] | None = None
    """Folders and URLs below which videos may be read. None: everywhere."""

    most_bytes: int | None = None
    """Bytes that a video file may have; None: any number."""

    @classmethod
    def told(
        cls, environment: Mapping[str, str], *, served: bool, most_bytes: int | None = None
    ) -> "AllowedInput":
        """Read what the operator allows.

        Args:
            environment: Where `ROOTS` is looked up.
            served: Whether strangers may send requests. If so, only what is named is allowed; if
                not, everything, unless something is named.
            most_bytes: Bytes that a video file may have; None: any number.

        Raises:
            InputError: If a root is neither the absolute path of a folder nor a URL.
        """
        roots = environment.get(ROOTS)
        if roots is None:
            return cls(() if served else None, most_bytes)
        named = [root.strip() for root in roots.split(",")]
        return cls(tuple(_root(name) for name in named if name), most_bytes)

    @contextmanager
    def video_file(self, cell: object, *, seconds: float | None = None) -> Iterator[Path]:
        """Give the video of a cell as a local file, for as long as the context lasts.

        A text of nothing but base64 is the video itself and never a path, unless there is such a
        file and everything may be read: should a path below a root read like base64, write it as a
        file:// URL.

        Args:
            cell: Text: base64 of a video file, also as a data: URL; a path, which may start at a
                root; or a URL that fsspec can read. Bytes: a video file, or base64 of one.
            seconds: Time that it may take to fetch it; None: any time.

        Raises:
            VideoInputError: If it gives no video, none that may be read, or too large a one.
            ScratchError: If there is no room for a temporary file.
        """
        is_own_file = self.roots is None and isinstance(cell, str) and self._found(cell) is not None
        content = None if is_own_file else self._content(cell)
        place = "" if content is not None else str(cell).strip()
        if content is None and not _is_remote(place):
            yield self._local(place)
            return
        with room_for("a video"):
            file = NamedTemporaryFile(prefix="video_")  # noqa: SIM115 - closed below
        with file:
            if content is None:
                _within(seconds, partial(self._fetch, place, file))
            else:
                _write(file, content)
            del content
            with room_for("a video"):
                file.flush()
            yield Path(file.name)

    def _content(self, cell: object) -> bytes | None:
        """The video that a cell holds; None if it holds none, but may say where one is."""
        if isinstance(cell, bytes):
            content = self._decoded(cell.decode()) if cell.isascii() else None
            content = cell if content is None else content
        elif not isinstance(cell, str) or not cell.strip():
            raise VideoInputError("the cell 'video' is empty or no text; send base64 of a video")
        else:
            url = _DATA_URL.match(cell)
            content = self._decoded(cell[url.end() :] if url else cell)
            if url and content is None:
                raise VideoInputError("what follows ';base64,' is not base64; was it cut off?")
        if content is not None:
            self._refuse_large(len(content))
            if not content:
                raise VideoInputError("the video is empty")
        return content

    def _decoded(self, text: str) -> bytes | None:
        """What a text of base64 holds; None if it is none. A large one is refused unread."""
        if self.most_bytes is not None:
            self._refuse_large(int(len(text) / _BASE64_SLACK) // 4 * 3)
        try:
            plain = text.encode("ascii").translate(None, delete=_WHITE_SPACE)
            return binascii.a2b_base64(plain, strict_mode=True)
        except ValueError:  # binascii.Error is one, and what is no ASCII raises another
            return None

    def _refuse_large(self, num_bytes: int) -> None:
        if self.most_bytes is not None and num_bytes > self.most_bytes:
            raise VideoInputError(
                f"the video must have {self.most_bytes / 1e6:g} MB at most, "
                f"got {num_bytes / 1e6:.1f} MB; cut the walk out of it, or scale it down"
            )

    def _local(self, place: str) -> Path:
        url = _FILE_URL.match(place)
        path = unquote(place[url.end() :]) if url else place
        found = self._found(path) if len(path) <= _LONGEST_PLACE else None
        if found is None:
            raise self._nothing_there()
        self._refuse_large(found.stat().st_size)
        return found

    def _found(self, path: str) -> Path | None:
        """A file that may be read; nothing outside the roots is so much as looked at."""
        try:
            if self.roots is None:
                return Path(path) if Path(path).is_file() else None
            for root in (root for root in self.roots if not _is_remote(root)):
                meant = Path(os.path.normpath(Path(root, path)))
                if not meant.is_relative_to(root):
                    continue
                real = meant.resolve()
                if real.is_relative_to(Path(root).resolve()) and real.is_file():
                    return real
        except (OSError, RuntimeError, ValueError):  # no name of a file at all, or links in a ring
            return None
        return None

    def _nothing_there(self) -> VideoInputError:
        if self.roots is None:
            return VideoInputError("there is no such file")
        if not self.roots:
            return VideoInputError(
                "it is not base64 of a video file; paths and addresses are not read here"
            )
        return VideoInputError(
            "it is neither base64 of a video file nor a file or address that may be read here"
        )

    def _fetch(self, url: str, file: IO[bytes]) -> None:
        """Copy what lies at an address, up to the allowed size."""
        options: dict[str, object] = {}
        if self.roots is not None:
            if not any(_is_below(url, root) for root in self.roots if _is_remote(root)):
                raise self._nothing_there()
            if urlsplit(url).scheme.lower() in _WEB:
                options["allow_redirects"] = False  # to where no root leads
        num_bytes = 0
        for block in _blocks(url, options):
            num_bytes += len(block)
            self._refuse_large(num_bytes)
            _write(file, block)
        if not num_bytes:
            raise VideoInputError("the video is empty")


def video_name(cell: object) -> str:
    """What an answer calls the video of a cell: its place, or how much was sent."""
    if isinstance(cell, bytes):
        return f"video of {len(cell)} bytes"
    text = str(cell)
    if len(text) <= _LONGEST_PLACE and not _DATA_URL.match(text):
        try:
            binascii.a2b_base64("".join(text.split()), strict_mode=True)
        except ValueError:
            return text
    return f"video in {len(text)} characters of base64"


def _within(seconds: float | None, fetch: Callable[[], None]) -> None:
    """Fetch something, or leave a thread to it that the other side lets wait.

    Raises:
        VideoInputError: If it takes longer.
    """
    if seconds is None:
        fetch()
        return
    errors: list[BaseException] = []

    def run() -> None:
        try:
            fetch()
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise VideoInputError(f"it cannot be fetched within {seconds:.0f} s")
    if errors:
        raise errors[0]


def _blocks(url: str, options: Mapping[str, object]) -> Iterator[bytes]:
    try:
        with fsspec.open(url, "rb", **options) as source:
            while block := source.read(_BLOCK_BYTES):
                yield block
    except ImportError as error:
        raise VideoInputError(
            f"addresses of this kind cannot be read here: {error.name or 'a library'} is missing"
        ) from error
    except Exception as error:  # every file system has its own errors
        raise VideoInputError(f"it cannot be fetched ({type(error).__name__})") from error


def _write(file: IO[bytes], content: bytes) -> None:
    with room_for("a video"):
        file.write(content)


def _root(name: str) -> str:
    if _is_remote(name):
        return name
    folder = Path(_FILE_URL.sub("", name, count=1))
    if not (folder.is_absolute() and folder.is_dir()):
        raise InputError(
            f"{ROOTS} must name folders by their absolute paths, or URLs, got {name!r}"
        )
    return os.path.normpath(folder)


def _is_remote(place: str) -> bool:
    return bool(_URL.match(place)) and not _FILE_URL.match(place)


def _is_below(url: str, root: str) -> bool:
    """Whether a URL lies below another, however a server may read it."""
    try:
        ours, theirs = urlsplit(root), urlsplit(url)
    except ValueError:
        return False
    path = unquote(theirs.path)
    is_plain = not (
        {".", ".."} & set(path.split("/")) or re.search(r"[\\%\x00-\x1f]|::", path) or "::" in url
    )
    return (
        is_plain
        and len(url) <= _LONGEST_PLACE
        and (ours.scheme.lower(), ours.netloc) == (theirs.scheme.lower(), theirs.netloc)
        and path.startswith(unquote(ours.path).rstrip("/") + "/")
    )
