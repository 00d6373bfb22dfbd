"""Files that keep a network or a run: there as a whole or not at all, and read without running
their code.
"""

import io
import os
import zipfile

import torch

from . import cache

VERSION = 1  # raised when what a file holds changes, so that older ones are refused and not misread


def write(path, kind, state):
    """Write a dict of tensors, numbers, texts, lists and dicts; what was there before is replaced
    at once.
    """
    content = io.BytesIO()
    torch.save({"pathemo": kind, "version": VERSION, "state": state}, content)
    with cache.whole(path) as file:
        file.write(content.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def read(path, kind, *, device="cpu"):
    """What `write` wrote as this kind; ValueError if the file is damaged, or of another kind or
    version.
    """
    try:
        with zipfile.ZipFile(path) as file:
            if damaged := file.testzip():  # torch does not compare the checksums that it wrote
                raise zipfile.BadZipFile(damaged)
        found = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # zip, pickle and torch each have errors of their own
        raise ValueError(
            f"{path} is damaged or of another program ({type(error).__name__}): "
            "remove it to start anew, or name another file"
        ) from None
    has = found.get("pathemo", "something else") if isinstance(found, dict) else "something else"
    if has != kind:
        raise ValueError(f"{path} holds {has}, not {kind}: name another file")
    if found["version"] != VERSION:
        raise ValueError(
            f"{path} has format version {found['version']}, this pathemo reads {VERSION}: "
            "remove it to start anew, or use the pathemo that wrote it"
        )
    return found["state"]
