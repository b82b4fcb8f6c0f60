"""Pseudonyms of patients and videos: what others may see of them, by a key that stays here.

A pseudonym is a keyed hash (HMAC-SHA256), so that the same patient has the same pseudonym in every
run that is made with one key, and nobody without the key can try out ids until one fits.

References:
    RFC 2104, https://www.rfc-editor.org/rfc/rfc2104.
"""

import fcntl
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

import pandas as pd
from platformdirs import user_config_path

from asd_experiments.errors import InputError
from asd_experiments.user_file import no_file, read_file

PARAMETER = "pseudonym_key"
"""Parameter of the commands that names the file of the key."""

ID_COLUMNS = ("patient_id", "video", "group")
"""Columns of our tables that say who or what is shown."""

_KEY_BYTES = 32  # as many as SHA-256 gives
_HEX_DIGITS = 16  # of a pseudonym: among a million names two are alike once in 40 million studies
_FINGERPRINT_DIGITS = 12
_WRITTEN = re.compile(rf"[pvg]-[0-9a-f]{{{_HEX_DIGITS}}}")
_MAKE_ONE = "(umask 077; python -c 'import secrets; print(secrets.token_hex(32))' > FILE)"


class Pseudonyms:
    """Pseudonyms of the patients and videos of a data set.

    Args:
        key: Secret of 32 bytes.
        patients: Ids of its patients.
        videos: Names of its videos.
        groups: Names of what is never split between folds, where that is not the patients.

    Raises:
        InputError: If two of them have the same pseudonym.
    """

    def __init__(
        self,
        key: bytes,
        patients: Iterable[str] = (),
        videos: Iterable[str] = (),
        groups: Iterable[str] = (),
    ) -> None:
        self._key = key
        self._patients = {name: self.patient(name) for name in _each_once(patients)}
        self._videos = {name: self.video(name) for name in _each_once(videos)}
        others = (name for name in _each_once(groups) if name not in self._patients)
        self._groups = {name: self.group(name) for name in others}
        for names in (self._patients, self._videos, self._groups):
            if len(set(names.values())) < len(names):
                raise InputError(f"{PARAMETER}: two names have the same pseudonym; make a new key")

    def __repr__(self) -> str:
        return f"Pseudonyms(fingerprint={self.fingerprint!r})"

    @property
    def fingerprint(self) -> str:
        """What tells this key from others and reveals nothing of it."""
        return self._digest("fingerprint")[:_FINGERPRINT_DIGITS]

    def patient(self, name: str) -> str:
        """Pseudonym of a patient."""
        return self._of("p", name)

    def video(self, name: str) -> str:
        """Pseudonym of a video."""
        return self._of("v", name)

    def group(self, name: str) -> str:
        """Pseudonym of what is never split between folds: a patient's own, or e.g. of a site."""
        return self._patients.get(name) or self._of("g", name)

    def table(
        self, table: pd.DataFrame, is_left: Callable[[str], bool] = lambda name: False
    ) -> pd.DataFrame:
        """A table with pseudonyms in its columns patient_id, video and group; the rest as it is.

        Args:
            table: The table.
            is_left: Tells which names stay as they are.
        """
        kinds = dict(zip(ID_COLUMNS, (self.patient, self.video, self.group), strict=True))

        def renamed(of: Callable[[str], str], name: str) -> str:
            return name if is_left(name) else of(name)

        found = {name: partial(renamed, kinds[name]) for name in ID_COLUMNS if name in table}
        return table.assign(**{name: in_column(table[name], of) for name, of in found.items()})

    def text(self, text: str) -> str:
        """A text, such as an error, with pseudonyms in the place of the data set's names.

        See `naming_pattern`.
        """
        if self._names_in_texts is None:
            return text
        return self._names_in_texts.sub(lambda found: self._known[found[0]], text)

    def translation(self) -> pd.DataFrame:
        """Who is who: columns kind (patient, video or group), id and pseudonym."""
        kinds = {"patient": self._patients, "video": self._videos, "group": self._groups}
        rows = [
            (kind, name, pseudonym)
            for kind, names in kinds.items()
            for name, pseudonym in names.items()
        ]
        return pd.DataFrame(rows, columns=["kind", "id", "pseudonym"], dtype=str)

    @cached_property
    def _known(self) -> dict[str, str]:
        return self._groups | self._videos | self._patients

    @cached_property
    def _names_in_texts(self) -> re.Pattern[str] | None:
        return naming_pattern(self._videos | self._patients, self._groups)

    def _of(self, kind: str, name: str) -> str:
        return f"{kind}-{self._digest(f'{kind}:{name}')[:_HEX_DIGITS]}"

    def _digest(self, text: str) -> str:
        return hmac.digest(self._key, text.encode(), "sha256").hex()


def naming_pattern(names: Iterable[str], words: Iterable[str] = ()) -> re.Pattern[str] | None:
    """What finds names in a text; None if there are none.

    Args:
        names: The names. One of few characters, which may be any word or number, is one only in
            quotes.
        words: Further ones that are ordinary words, such as sites: only in quotes.
    """
    only_quoted = dict.fromkeys(words, True) | {name: _is_any_word(name) for name in names}
    forms = [
        rf"(?<=['\"]){re.escape(name)}(?=['\"])" if only_quoted[name] else re.escape(name)
        for name in sorted(only_quoted, key=len, reverse=True)  # the longest that fits is meant
        if name
    ]
    return re.compile(rf"(?<![\w-])(?:{'|'.join(forms)})(?![\w-])") if forms else None


def in_column(values: pd.Series, of: Callable[[str], str]) -> pd.Series:
    """Give every value of a column its pseudonym; what is missing stays missing."""
    names = {value: of(str(value)) for value in values.dropna().unique()}
    return values.map(names)


def is_pseudonym(name: str) -> bool:
    """Whether a name looks like a pseudonym, of whatever key."""
    return _WRITTEN.fullmatch(name) is not None


def _is_any_word(name: str) -> bool:
    is_number = name.replace(".", "", 1).isdigit()
    return (name.isalpha() and len(name) < 3) or (is_number and len(name) < 5)


def _each_once(names: Iterable[str]) -> list[str]:
    return sorted(set(map(str, names)))


def default_key_file() -> Path:
    """The file of the user's own key."""
    return user_config_path("asd_experiments", appauthor=False) / "pseudonyms.key"


def read_key(file: str | None) -> bytes:
    """The key in a file.

    Args:
        file: The file. None: the user's own key.

    Raises:
        InputError: If there is no such file, it cannot be read, or it holds no key.
    """
    path = Path(file) if file else default_key_file()
    if not path.exists():
        how = "give the file that they were made with"
        raise InputError(f"{no_file(path, PARAMETER)}, which pseudonyms need; {how}")
    content = read_file(path, PARAMETER).strip()
    if not re.fullmatch(rb"[0-9a-fA-F]{%d}" % (2 * _KEY_BYTES), content):
        raise InputError(
            f"{PARAMETER}: {str(path)!r} must hold {2 * _KEY_BYTES} hexadecimal digits and nothing "
            f"else, got {len(content)} characters; give another file, or make a key by: {_MAKE_ONE}"
        )
    return bytes.fromhex(content.decode())


def own_key(file: str | None) -> bytes:
    """The key in a file; the user's own one is made when it is first used.

    Args:
        file: The file. None: the user's own key.

    Raises:
        InputError: If it cannot be read or made, or holds no key.
    """
    path = default_key_file()
    if file is None and not path.exists():
        try:
            _make_key(path)
        except OSError as error:
            raise InputError(
                f"{PARAMETER}: no key for pseudonyms can be made in {str(path.parent)!r} "
                f"({error.strerror}); give a file of your own by {PARAMETER}=FILE (make one by: "
                f"{_MAKE_ONE}), or choose anonymise=false"
            ) from error
    if file is not None and not Path(file).exists():
        raise InputError(f"{no_file(Path(file), PARAMETER)}; make one by: {_MAKE_ONE}")
    return read_key(file)


def _make_key(path: Path) -> None:
    """Make a key that nobody else can read; one that another process makes meanwhile stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with NamedTemporaryFile("w", dir=path.parent, prefix="key_") as file:  # made with mode 0600
        file.write(f"{secrets.token_hex(_KEY_BYTES)}\n")
        file.flush()
        os.fsync(file.fileno())
        try:
            path.hardlink_to(file.name)
        except FileExistsError:
            return
    print(f"A key for pseudonyms was made: {path}. Keep it to yourself, and keep a copy of it.")


def keep_translation(table: pd.DataFrame, fingerprint: str, file: str | None) -> str:
    """Add who is who to the table beside the key, which the user alone can read.

    Args:
        table: From `Pseudonyms.translation`.
        fingerprint: Of the key.
        file: The key's file. None: the user's own.

    Returns:
        A sentence: where the table is, or why it cannot be written.
    """
    folder = (Path(file) if file else default_key_file()).resolve().parent
    path = folder / f"pseudonyms-{fingerprint}.csv"
    new = path.with_suffix(".new")
    try:
        with _alone(path.with_suffix(".lock")):  # trainings may begin at the same time
            if path.exists() and path.stat().st_size:
                known = pd.read_csv(path, dtype=str, keep_default_na=False)
                table = pd.concat([known, table]).drop_duplicates()
            with _private(new, os.O_TRUNC) as written:
                table.to_csv(written, index=False)
            new.replace(path)  # whoever breaks off leaves the old table whole
    except OSError as error:
        new.unlink(missing_ok=True)
        return f"Who is who cannot be written to {path}: {error.strerror}"
    return f"Who is who: {path}"


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait for other processes that hold a lock, and hold it."""
    with _private(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _private(path: Path, flags: int = 0) -> IO[str]:
    """A file to write that nobody else can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8", newline="")
