"""Files of tensors that check themselves: a damaged one is told before anything in it is read.

A file is the archive that `torch.save` writes, whose comment holds the SHA-256 of everything before the digest: one
file, which `torch.load` and unzip read as before. Files of earlier versions have no such comment; the CRC-32 that the
archive keeps of each of its members, which PyTorch itself does not look at, is checked there.
"""

import hashlib
import os
import re
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from benchmark.config.errors import Damaged
from leaderboard.whole_files import whole_file

_SEAL = b"emergence-benchmark sha256 "
_DIGEST = 64  # hexadecimal digits
_END = 22  # bytes of an archive's last part
_CHUNK = 2**20
_FOREIGN = "is not a checkpoint, or a damaged one"
_DAMAGED = "is damaged: its bytes do not fit their checksum"


def write_sealed(path: Path, content: Any) -> None:
    """Write tensors and plain values with their checksum, as a whole (see `whole_file`) and nowhere but in the folder.

    Raises:
        CannotWrite: if it cannot be written.
    """
    with whole_file(path) as file:
        torch.save(content, file)
        _seal(file)


def _seal(file: BinaryIO) -> None:
    """Append the archive's comment; its length, so far 0, is in the last two bytes."""
    file.seek(-2, os.SEEK_END)
    file.write(struct.pack("<H", len(_SEAL) + _DIGEST) + _SEAL)
    digest = _digest(file, length=file.tell())
    file.seek(0, os.SEEK_END)
    file.write(digest.encode())


def read_sealed(path: Path) -> Any:
    """The content of a file, on the CPU, once its bytes have been checked; nothing in it is executed.

    Raises:
        Damaged: one line, if it is not there, is no regular file, or is not what was written.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its other end
            raise Damaged(f"{path}: is not a checkpoint but {'a folder' if path.is_dir() else 'no regular file'}")
        with path.open("rb") as file:
            if (trouble := _trouble(file)) is not None:
                raise Damaged(f"{path}: {trouble}")
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
    except Damaged:
        raise
    except OSError as error:
        raise Damaged(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # whatever a foreign file makes of PyTorch's reader
        raise Damaged(f"{path}: {_FOREIGN}") from error


def _trouble(file: BinaryIO) -> str | None:
    """The reason why a file is not to be trusted, None if there is none."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return f"is empty: {_FOREIGN}"
    file.seek(max(0, size - len(_SEAL) - _DIGEST))
    seal = re.fullmatch(re.escape(_SEAL) + rb"([0-9a-f]{%d})" % _DIGEST, file.read())
    if seal is not None:
        return None if seal[1].decode() == _digest(file, size - _DIGEST) else _DAMAGED
    file.seek(max(0, size - _END))
    end = file.read()
    if end[:4] != b"PK\x05\x06" or end[-2:] != b"\0\0":  # the archive's last part, with a comment of no length
        return _FOREIGN
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            plain = all(member.compress_type == zipfile.ZIP_STORED for member in members)
            if not plain or sum(member.file_size for member in members) > size:
                return _FOREIGN
            return None if archive.testzip() is None else _DAMAGED
    except Exception:  # of a torn or foreign file
        return _FOREIGN


def _digest(file: BinaryIO, length: int) -> str:
    """SHA-256 (hex) of the first bytes of a file."""
    file.seek(0)
    digest = hashlib.sha256()
    while length > 0 and (chunk := file.read(min(length, _CHUNK))):
        digest.update(chunk)
        length -= len(chunk)
    return digest.hexdigest()
