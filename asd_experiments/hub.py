"""Files of published weights: downloaded once, then taken from PyTorch's cache."""

import http.client
import re
from pathlib import Path
from urllib.parse import urlsplit

import torch

from asd_experiments.errors import InputError


def fetch(url: str, what: str, parameter: str) -> Path:
    """Path of a hub's file in the local cache; it is downloaded if it is not there.

    A name that ends in the start of the file's SHA-256, as torchvision's do, is held against it.

    Args:
        url: Address that a library states.
        what: What is in the file, for the error.
        parameter: The parameter that takes a file instead, such as `pretrained`.

    Raises:
        InputError: If it cannot be downloaded.
    """
    name = Path(urlsplit(url).path).name
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    if cached.is_file():
        return cached
    digest = re.search(r"-([0-9a-f]{8,})\.", name)
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        print(f"Downloading {what}: {url}")
        torch.hub.download_url_to_file(
            url, str(cached), hash_prefix=digest[1] if digest else None, progress=False
        )
    except (OSError, RuntimeError, ValueError, http.client.HTTPException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{what} cannot be downloaded ({reason}); "
            f"download {url} on a machine with a network and pass {parameter}=FILE"
        ) from None
    return cached
