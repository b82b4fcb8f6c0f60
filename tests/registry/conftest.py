from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reporting.conftest import tracking_store


@pytest.fixture(scope="package")
def tracking(tmp_path_factory) -> Iterator[Path]:
    """An empty tracking store, the same for all tests of this folder."""
    with tracking_store(tmp_path_factory.mktemp("tracking")) as folder:
        yield folder
