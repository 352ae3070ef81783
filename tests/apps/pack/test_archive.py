# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import io
import stat
import tarfile
import warnings
import zipfile

import pytest

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.apps.pack.archive import extract_archive
from monai_cxrssl.apps.pack.check import check_bundle
from monai_cxrssl.errors import ConfigurationError

NAMES = {
    "parent": ("../evil", "leads out"),
    "inner parent": ("a/../../evil", "leads out"),
    "absolute": ("/tmp/evil", "leads out"),
    "drive": ("C:evil", "leads out"),
    "backslash": ("..\\evil", "leads out"),
    "dot": ("a/./b", "leads out"),
    "double slash": ("a//b", "leads out"),
    "newline": ("a\nb", "not plain"),
    "right to left": ("a\u202eb", "not plain"),
}
KINDS = {
    "symbolic link": (tarfile.SYMTYPE, "link"),
    "hard link": (tarfile.LNKTYPE, "link"),
    "character device": (tarfile.CHRTYPE, "device"),
    "block device": (tarfile.BLKTYPE, "device"),
    "pipe": (tarfile.FIFOTYPE, "device"),
    "sparse": (tarfile.GNUTYPE_SPARSE, "device"),
    "unknown type": (b"Z", "device"),
}


def write_zip(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in members:
            member = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            file.writestr(member, content, zipfile.ZIP_DEFLATED)
    return path


def write_tar(path, *members, mode="w:gz"):
    with tarfile.open(path, mode) as file:
        for name, content in members:
            member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if not path.is_dir()}


WRITERS = pytest.mark.parametrize("write", [write_zip, write_tar])


def refused(path, told, **limits):
    target = path.parent / "target" / "new"
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(ConfigurationError) as error:
        extract_archive(path, target, **limits)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(each for each in path.parent.rglob("*") if each != target.parent) == before


@WRITERS
def test_plain_archives_are_unpacked(write, tmp_path):
    content = {"b/x.txt": b"1", "b/c/y.bin": bytes(3_000_000), "b/name ä.txt": b""}
    extract_archive(write(tmp_path / "a", *content.items()), tmp_path / "out")
    assert files(tmp_path / "out") == content
    with pytest.raises(ConfigurationError, match="exists"):
        extract_archive(tmp_path / "a", tmp_path / "out")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_of_every_compression_and_with_folders(mode, tmp_path):
    folder = tarfile.TarInfo("b")
    folder.type = tarfile.DIRTYPE
    write_tar(tmp_path / "a", (folder, b""), ("b/" + "long" * 60, b"1"), mode=mode)
    extract_archive(tmp_path / "a", tmp_path / "out")
    assert files(tmp_path / "out") == {"b/" + "long" * 60: b"1"}


@WRITERS
@pytest.mark.parametrize(("name", "told"), NAMES.values(), ids=NAMES)
def test_names_that_lead_elsewhere(write, name, told, tmp_path):
    refused(write(tmp_path / "a", ("fine", b"1"), (name, b"evil")), told)


@WRITERS
@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("a", "a", "twice"),
        ("A/x", "a/X", "twice"),
        ("\u00e9", "e\u0301", "twice"),
        ("a", "a/b", "below a member that is a file"),
        ("a/b", "a", "twice"),
    ],
)
def test_names_that_meet(write, first, second, told, tmp_path):
    refused(write(tmp_path / "a", (first, b"1"), (second, b"2")), told)


@pytest.mark.parametrize(("kind", "told"), KINDS.values(), ids=KINDS)
def test_tar_members_that_are_no_files(kind, told, tmp_path):
    member = tarfile.TarInfo("x")
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a", "w") as file:
        file.addfile(member)
    refused(tmp_path / "a", told)


@pytest.mark.parametrize(("kind", "told"), [(stat.S_IFLNK, "link"), (stat.S_IFCHR, "device"),
                                            (stat.S_IFIFO, "special"), (stat.S_IFSOCK, "special")])  # fmt: skip
def test_zip_members_that_are_no_files(kind, told, tmp_path):
    member = zipfile.ZipInfo("x")
    member.external_attr = (kind | 0o777) << 16
    refused(write_zip(tmp_path / "a", (member, b"/etc/passwd")), told)


def test_set_user_id_is_not_kept(tmp_path):
    member = tarfile.TarInfo("x")
    member.mode = 0o6777
    extract_archive(write_tar(tmp_path / "a", (member, b"1")), tmp_path / "out")
    assert not (tmp_path / "out" / "x").stat().st_mode & 0o6111


@WRITERS
def test_bombs(write, tmp_path):
    path = write(tmp_path / "a", *((f"f{number}", bytes(2_000_000)) for number in range(10)))
    refused(path, "decompression bomb")
    refused(path, "decompression bomb", max_total_bytes=1_000_000)
    refused(path, "more than 5 members", max_files=5)
    extract_archive(path, tmp_path / "out", max_ratio=1e9)
    assert len(files(tmp_path / "out")) == 10


def test_zip_that_declares_too_little(tmp_path):
    path = write_zip(tmp_path / "a", ("x", bytes(5_000_000)))
    content = path.read_bytes().replace((5_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(content)
    refused(path, "cannot be unpacked")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("size", [2**32, -512])
def test_tar_with_a_huge_header_takes_no_memory(kind, size, tmp_path):
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, size
    (tmp_path / "a").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    refused(tmp_path / "a", f"header of {size:,} bytes")
    with gzip.open(tmp_path / "b", "w") as file:
        file.write((tmp_path / "a").read_bytes())
    refused(tmp_path / "b", f"header of {size:,} bytes")


def test_monai_says_nothing_of_its_own(tmp_path, capfd):
    from monai.apps.utils import logger

    level = logger.level
    extract_archive(write_zip(tmp_path / "a", ("x", b"1")), tmp_path / "out")
    assert logger.level == level
    assert capfd.readouterr().out == ""


@WRITERS
def test_damage_is_one_sentence(write, tmp_path):
    content = write(tmp_path / "a", ("b/x", bytes(range(256)) * 200), ("b/y", b"2")).read_bytes()
    done = 0
    for place in range(0, len(content), max(1, len(content) // 60)):
        (tmp_path / "cut").write_bytes(content[:place])
        flipped = bytearray(content)
        flipped[place] ^= 0xFF
        (tmp_path / "flipped").write_bytes(flipped)
        for name in ("cut", "flipped"):
            try:
                extract_archive(tmp_path / name, tmp_path / f"out{done}")
            except ConfigurationError as error:
                assert str(tmp_path / name) in str(error)  # noqa: PT017
            done += 1
    assert not list(tmp_path.glob(".*"))


def test_encrypted_member(tmp_path):
    path = write_zip(tmp_path / "a", ("x", b"1"))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    refused(path, "encrypted")


@WRITERS
def test_pack_check_refuses_them(write, tmp_path, capsys):
    path = write(tmp_path / "a.zip", ("b/x", b"1"), ("b/../../evil", b"2"))
    with pytest.raises(ConfigurationError, match="leads out"):
        check_bundle(path)
    assert main(["pack", "--check", str(path)]) == 2
    assert "leads out" in capsys.readouterr().err
    assert not (tmp_path / "evil").exists()
