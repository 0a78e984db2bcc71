"""Checkpoints in Hugging Face's format: in a folder, or fetched from the hub at a revision; and what can be wrong."""

import errno
import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from benchmark.config.errors import BenchmarkError, said

CONFIG = "config.json"
_TOKENIZER = ("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json")
_SAFE = ("model*.safetensors", "model.safetensors.index.json")
_PICKLED = ("pytorch_model*.bin", "pytorch_model.bin.index.json")
_CHUNK = 1 << 20


class Missing(BenchmarkError):
    """A checkpoint of a series that is not there, or holds no weights."""


def require_transformers(command: str) -> None:
    """Raise a ValueError of one line if the transformers library is not installed."""
    if find_spec("transformers") is None:
        raise BenchmarkError(
            f"{command} needs the transformers library, which is not installed:"
            " pip install 'emergence-benchmark[hf]' (or pip install transformers)"
        )


def local_checkpoint(folder: Path) -> Path:
    """A folder that holds a checkpoint: configuration and weights.

    Raises:
        Missing: one line, if it does not.
    """
    if not folder.is_dir():
        raise Missing(f"{folder}: there is no such folder")
    if not (folder / CONFIG).is_file():
        raise Missing(f"{folder}: holds no {CONFIG}")
    if not weight_files(folder):
        raise Missing(f"{folder}: holds no weights (model.safetensors or pytorch_model.bin)")
    return folder


def hub_checkpoint(repository: str, revision: str) -> Path:
    """The folder of a checkpoint in the hub's cache, where it is put unless it is there: configuration and weights.

    Weights as safetensors are taken where there are some, and those of `torch.save` only where there are none.

    Raises:
        Missing: one line, if there is no such revision, or it holds no weights.
        ValueError: one line, if there is no such repository, or the hub cannot be reached and the cache lacks the
            revision.
    """
    folder = _snapshot(repository, revision, (CONFIG, *_SAFE, *_TOKENIZER))
    if not weight_files(folder):
        folder = _snapshot(repository, revision, (CONFIG, *_PICKLED, *_TOKENIZER))
    if not weight_files(folder):
        raise Missing(f"{repository}: revision {revision} holds no weights")
    return folder


def hub_tokenizer(repository: str) -> Path:
    """The folder of a repository's tokenizer in the hub's cache; raises as `hub_checkpoint`."""
    return _snapshot(repository, "main", (CONFIG, *_TOKENIZER))


def _snapshot(repository: str, revision: str, patterns: tuple[str, ...]) -> Path:
    import huggingface_hub
    from huggingface_hub import errors

    name = f"{repository} at revision {revision}"
    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))
    except errors.RevisionNotFoundError as error:
        raise Missing(f"{repository}: there is no revision {revision}") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise BenchmarkError(f"{repository}: there is no such repository on the hub, or it is not public") from error
    except Exception as error:  # of the network, of the hub, or of the cache
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS}:
            raise
        offline = isinstance(error, errors.LocalEntryNotFoundError) and huggingface_hub.constants.HF_HUB_OFFLINE
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        why = "offline mode is on (HF_HUB_OFFLINE)" if offline else f"the hub cannot be reached ({said(cause)[:120]})"
        cache = huggingface_hub.constants.HF_HUB_CACHE
        raise BenchmarkError(f"{name}: {why}, and it is not in the cache {cache}") from error


def weight_files(folder: Path) -> list[Path]:
    """The files of weights, one or several, those as safetensors alone where there are both kinds."""
    safe = sorted(folder.glob("model*.safetensors"))
    return safe or sorted(folder.glob("pytorch_model*.bin"))


def weight_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of each file of weights, by its name."""
    return {path.name: _sha256(path) for path in weight_files(folder)}


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def equal_files(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """Names of our files whose content is that of one of theirs."""
    return sorted(name for name, content in ours.items() if content in theirs.values())
