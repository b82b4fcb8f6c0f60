"""Pseudonyms, the key that makes them, and the table that says who is who."""

import hashlib
import hmac
import stat
import threading
from pathlib import Path
from typing import IO

import pandas as pd
import pytest

from asd_experiments import pseudonyms
from asd_experiments.errors import InputError
from asd_experiments.pseudonyms import (
    Pseudonyms,
    default_key_file,
    is_pseudonym,
    keep_translation,
    own_key,
    read_key,
)

KEY = bytes(range(32))


@pytest.fixture
def config_folder(tmp_path, monkeypatch) -> Path:
    """A folder for the user's configuration that holds nothing yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert default_key_file().is_relative_to(tmp_path)
    return default_key_file().parent


def by_hand(kind: str, name: str) -> str:
    """RFC 2104, written out."""
    block = KEY.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in block) + f"{kind}:{name}".encode()).digest()
    outer = hashlib.sha256(bytes(b ^ 0x5C for b in block) + inner).hexdigest()
    return f"{kind}-{outer[:16]}"


def test_a_pseudonym_is_a_keyed_hash_that_shows_its_kind():
    names = Pseudonyms(KEY, ["P01"], ["p01/wälk.mp4"])
    assert names.patient("P01") == by_hand("p", "P01")
    assert names.video("p01/wälk.mp4") == by_hand("v", "p01/wälk.mp4")
    assert names.group("P01") == names.patient("P01")  # the patient is the group
    assert names.group("a site") == by_hand("g", "a site")
    assert Pseudonyms(bytes(32)).patient("P01") != names.patient("P01")
    assert is_pseudonym(names.video("x")) and not is_pseudonym("p-01")


def test_the_fingerprint_tells_keys_apart_and_the_key_is_shown_nowhere():
    names = Pseudonyms(KEY)
    assert len(names.fingerprint) == 12 != Pseudonyms(bytes(32)).fingerprint
    assert KEY.hex() not in repr(names) and names.fingerprint in repr(names)
    assert names.fingerprint != hmac.digest(KEY, b"", "sha256").hex()[:12]


def test_names_that_cannot_be_told_apart_are_refused(monkeypatch):
    monkeypatch.setattr(pseudonyms, "_HEX_DIGITS", 1)
    with pytest.raises(InputError, match="two names have the same pseudonym; make a new key"):
        Pseudonyms(KEY, map(str, range(17)))


def test_a_table_keeps_everything_but_names():
    table = pd.DataFrame(
        {"patient_id": ["a", "b", "a"], "group": ["s", "t", "s"], "video": ["1", None, "2"]},
        index=[3, 1, 2],
    ).assign(label="ASD", probability_ASD=[0.1, 0.2, 0.3])
    names = Pseudonyms(KEY, ["a", "b"], ["1", "2"])
    hidden = names.table(table)
    assert hidden.columns.tolist() == table.columns.tolist()
    assert hidden.index.tolist() == [3, 1, 2]
    assert hidden["patient_id"].tolist() == [by_hand("p", name) for name in "aba"]
    assert hidden["group"].tolist() == [by_hand("g", name) for name in "sts"]
    assert hidden["video"].isna().tolist() == [False, True, False]
    assert hidden["probability_ASD"].tolist() == [0.1, 0.2, 0.3]
    assert table["patient_id"].tolist() == ["a", "b", "a"]


def test_texts_keep_what_is_no_name():
    names = Pseudonyms(KEY, ["P1", "P10", "7", "P.A"], ["x/P10.mp4"])
    of = names.patient
    assert (
        names.text("patient 'P10', x/P10.mp4")
        == f"patient '{of('P10')}', {by_hand('v', 'x/P10.mp4')}"
    )
    assert names.text("P1 P10 P100 aP1") == f"{of('P1')} {of('P10')} P100 aP1"
    assert names.text("line 7: KeyError: '7'") == f"line 7: KeyError: '{of('7')}'"
    assert names.text("PxA P.A") == f"PxA {of('P.A')}"
    assert Pseudonyms(KEY).text("P1") == "P1"


def test_the_users_key_is_made_once_for_the_user_alone(config_folder, capsys):
    first = own_key(None)
    assert f"A key for pseudonyms was made: {default_key_file()}" in capsys.readouterr().out
    assert len(first) == 32 and own_key(None) == read_key(None) == first
    assert capsys.readouterr().out == ""
    assert stat.S_IMODE(default_key_file().stat().st_mode) == 0o600
    assert list(config_folder.iterdir()) == [default_key_file()]


def test_two_who_make_the_key_at_once_have_the_same(config_folder):
    keys: list[bytes] = []
    threads = [threading.Thread(target=lambda: keys.append(own_key(None))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8 and len(set(keys)) == 1


def test_a_key_can_be_given(tmp_path, config_folder):
    (tmp_path / "study.key").write_text(f"{KEY.hex()}\n")
    assert own_key(str(tmp_path / "study.key")) == KEY
    assert not config_folder.exists()


def test_a_key_that_is_missing_is_not_made(tmp_path, config_folder):
    with pytest.raises(
        InputError, match=r"pseudonym_key: there is no file '.*study\.key'.*token_hex"
    ):
        own_key(str(tmp_path / "study.key"))
    with pytest.raises(InputError, match=r"there is no file '.*pseudonyms\.key'.*made with"):
        read_key(None)
    assert not config_folder.exists()


@pytest.mark.parametrize("content", [b"", b"ab" * 31, b"ab" * 33, b"zz" * 32, b"\xff" * 64])
def test_a_file_that_holds_no_key_is_refused_without_being_shown(tmp_path, content):
    (tmp_path / "key").write_bytes(content)
    rule = rf"must hold 64 hexadecimal digits and nothing else, got {len(content)} characters"
    with pytest.raises(InputError, match=rule) as refused:
        read_key(str(tmp_path / "key"))
    assert "abab" not in str(refused.value)


def test_a_key_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(InputError, match=r"pseudonym_key: '.*' cannot be read \(Is a directory\)"):
        read_key(str(tmp_path))


def test_where_no_key_can_be_made_is_said(tmp_path, monkeypatch):
    (tmp_path / "config").write_text("in the way")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with pytest.raises(InputError, match=r"no key for pseudonyms can be made.*anonymise=false"):
        own_key(None)


def test_who_is_who_is_kept_beside_the_key_and_grows(tmp_path):
    key_file = str(tmp_path / "study.key")
    first = Pseudonyms(KEY, ["P01"], ["a.mp4"])
    (tmp_path / f"pseudonyms-{first.fingerprint}.csv").touch(mode=0o600)  # of one that broke off
    told = keep_translation(first.translation(), first.fingerprint, key_file)
    path = tmp_path / f"pseudonyms-{first.fingerprint}.csv"
    assert told == f"Who is who: {path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second = Pseudonyms(KEY, ["P01", "007"], ["a.mp4"], ["P01", "a site"])
    keep_translation(second.translation(), second.fingerprint, key_file)
    table = pd.read_csv(path, dtype=str)
    assert table.to_numpy().tolist() == [
        ["patient", "P01", by_hand("p", "P01")],
        ["video", "a.mp4", by_hand("v", "a.mp4")],
        ["patient", "007", by_hand("p", "007")],
        ["group", "a site", by_hand("g", "a site")],
    ]


def test_who_is_who_is_whole_whenever_writing_it_breaks_off(tmp_path, monkeypatch):
    names = Pseudonyms(KEY, ["P01"])
    key_file = str(tmp_path / "study.key")
    keep_translation(names.translation(), names.fingerprint, key_file)
    path = tmp_path / f"pseudonyms-{names.fingerprint}.csv"
    before = path.read_bytes()

    def no_room(self: pd.DataFrame, file: IO[str], **others: object) -> None:
        file.write("kind,id\npat")
        raise OSError(28, "No space left on device")

    more = Pseudonyms(KEY, ["P02"])
    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", no_room)
        told = keep_translation(more.translation(), names.fingerprint, key_file)
    assert told == f"Who is who cannot be written to {path}: No space left on device"
    assert path.read_bytes() == before
    keep_translation(more.translation(), names.fingerprint, key_file)
    assert pd.read_csv(path)["id"].tolist() == ["P01", "P02"]


def test_a_table_that_cannot_be_written_costs_nothing_else(tmp_path):
    names = Pseudonyms(KEY, ["P01"])
    (tmp_path / f"pseudonyms-{names.fingerprint}.csv").mkdir()
    told = keep_translation(names.translation(), names.fingerprint, str(tmp_path / "key"))
    assert told.startswith("Who is who cannot be written to")
