"""Uploaded files: safe names, never replaced, nothing left behind."""

from __future__ import annotations

import os
from html import unescape

import pytest
from pages import uploads
from pages.uploads import Upload, UploadField, safe_name, upload_limit

from tsnn.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("table.csv", "table.csv"),
        ("../../x.csv", "x.csv"),
        ("/etc/passwd.csv", "passwd.csv"),
        ("C:\\Users\\me\\my table.csv", "my_table.csv"),
        ("..\\..\\x.tsv", "x.tsv"),
        ("a\x00b\n.csv", "a_b_.csv"),
        ("<img src=x onerror=alert(1)>.csv", "img_src_x_onerror_alert_1_.csv"),
        (".hidden.csv", "hidden.csv"),
        ("größe.csv.gz", "größe.csv.gz"),
        ("X.PARQUET", "X.PARQUET"),
        ("long" * 100 + ".csv", ("long" * 100)[:80] + ".csv"),
    ],
)
def test_upload__name_is_made_safe(given, stored):
    assert safe_name(given) == stored


@pytest.mark.parametrize("name", ["run.exe", "config.toml", "x", "", "..", "../..", ".csv", "csv/", "a.csv/../b.sh"])
def test_upload__other_kinds_are_refused(name):
    with pytest.raises(DataError, match=r"is no file that can be read: expected \.npy, \.npz"):
        safe_name(name)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def store(folder, name, content, size=4):
    upload = Upload(folder, name, -(-len(content) // size), 10**6)
    for number in range(upload.chunks):
        upload.add(number + 1, content[number * size : (number + 1) * size])
    return upload.finish()


def test_upload__other_files_are_never_replaced(tmp_path):
    first = store(tmp_path / "up", "../../t.csv", b"a,b\n1,2\n")
    other = store(tmp_path / "up", "t.csv", b"a,b\n3,4\n")
    again = store(tmp_path / "up", "t.csv", b"a,b\n1,2\n")
    assert (first.name, other.name, again) == ("t.csv", "t-2.csv", first)
    assert first.read_bytes() == b"a,b\n1,2\n"
    assert names(tmp_path / "up") == ["t-2.csv", "t.csv"]
    assert names(tmp_path) == ["up"]


def test_upload__links_are_not_followed(tmp_path):
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "t.csv").symlink_to(tmp_path / "outside.csv")
    assert store(tmp_path / "up", "t.csv", b"a,b\n").name == "t-2.csv"
    assert not (tmp_path / "outside.csv").exists()


def test_upload__what_was_abandoned_is_deleted(tmp_path):
    (tmp_path / ".old.part").write_text("x")
    (tmp_path / ".new.part").write_text("x")
    os.utime(tmp_path / ".old.part", (0, 0))
    store(tmp_path, "t.csv", b"a,b\n")
    assert names(tmp_path) == [".new.part", "t.csv"]


class Field(UploadField):
    """Field without a browser: keeps the answers."""

    def __init__(self, folder):
        self.stored, self.answers = [], []
        super().__init__(folder, self.stored.append)

    def _send_msg(self, msg):
        self.answers.append(msg["status"])

    def drop(self, name, *chunks, total=None, end=True):
        self._handle_msg({"status": "initializing"})
        for number, data in enumerate(chunks, 1):
            self.chunk(name, number, data, total or len(chunks))
        if end:
            self._handle_msg({"status": "finished"})

    def chunk(self, name, number, data, total):
        message = {"status": "upload_event", "name": name, "chunk": number, "total_chunks": total, "data": data}
        self._handle_msg(message)


def test_field__a_dropped_file_is_stored(tmp_path):
    field = Field(tmp_path / "up")
    field.drop("../x.csv", b"a,b\n", b"1,2\n")
    assert field.stored == [tmp_path / "up" / "x.csv"]
    assert field.stored[0].read_bytes() == b"a,b\n1,2\n"
    assert field.answers == ["finished"]
    assert "Stored as x.csv." in field.status.object
    field.drop("x.csv", b"other")
    assert "Stored as x-2.csv: another file is called x.csv." in field.status.object


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        ({"name": "x.exe", "chunks": [b"MZ", b"MZ"]}, "no file that can be read"),
        ({"name": "x.csv", "chunks": []}, "The file is empty"),
        ({"name": "x.csv", "chunks": [b"a"], "total": 2}, "was interrupted"),
        ({"name": "x.csv", "chunks": [b"a" * 600_000, b"a" * 600_000]}, "larger than the 1 MB"),
    ],
)
def test_field__what_cannot_be_stored_leaves_nothing_behind(tmp_path, monkeypatch, drop, message):
    monkeypatch.setenv("TSNN_UPLOAD_MB", "1")
    field = Field(tmp_path / "up")
    field.drop(drop["name"], *drop["chunks"], total=drop.get("total"))
    assert field.stored == []
    assert message in unescape(field.error.object)
    assert "error" in field.answers
    assert not (tmp_path / "up").exists() or names(tmp_path / "up") == []
    field.drop("good.csv", b"a,b\n")
    assert len(field.stored) == 1
    assert not field.error.visible


def test_field__missing_chunks_and_second_files_are_refused(tmp_path):
    field = Field(tmp_path)
    field.drop("x.csv", b"a", total=3, end=False)
    field.chunk("x.csv", 3, b"c", 3)
    assert "was interrupted" in unescape(field.error.object)
    field.drop("x.csv", b"a", end=False)
    field.chunk("y.csv", 1, b"b", 1)
    assert "More than one file" in unescape(field.error.object)
    field._handle_msg({"status": "finished"})
    assert field.stored == names(tmp_path) == []


def test_field__the_browsers_refusal_is_one_sentence(tmp_path):
    field = Field(tmp_path)
    field._handle_msg({"status": "error", "error": 'File "<b>.csv" (3 GB) exceeds maximum file size of 2 GB'})
    assert "<b>.csv is larger than the 2,000 MB that may be uploaded" in unescape(field.error.object)


def test_field__a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda path: _usage())
    field = Field(tmp_path)
    field.drop("x.csv", b"a,b\n")
    assert "is not stored: 0.0 GB are free" in unescape(field.error.object)


def _usage():
    return uploads.shutil._ntuple_diskusage(1, 1, 0)


def test_field__wrong_limit_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TSNN_UPLOAD_MB", "many")
    with pytest.raises(ConfigError, match="TSNN_UPLOAD_MB must be a whole number"):
        upload_limit()
    assert "TSNN_UPLOAD_MB" in unescape(Field(tmp_path).error.object)
