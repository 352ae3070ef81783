# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures that every test folder shares."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

# Several workers that each start a thread per core slow each other manifold; said before anything imports torch, and
# inherited by the bundles that tests start.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repo() -> Path:
    """The checkout that is tested."""
    return REPO


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real chest X-rays beside the checkout (or at ``CXRSSL_SHARED_DATA``); tests that need them skip without."""
    folder = Path(os.environ.get("CXRSSL_SHARED_DATA", REPO.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real X-rays not found: no folder {folder.name!r} beside the checkout's parent")
    return folder


@pytest.fixture(scope="session", autouse=True)
def patient_salt(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Pseudonyms of patients neither depend on nor write into the settings of who runs the tests."""
    os.environ["MONAI_CXRSSL_SALT_FILE"] = str(tmp_path_factory.mktemp("salt") / "patient_salt")


@pytest.fixture
def free_port() -> int:
    """A TCP port of this machine that nothing listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(autouse=True)
def root_log_level():
    """MONAI's workflows set the level of the root logger from a bundle's logging.conf; what comes next is not to see it."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)
