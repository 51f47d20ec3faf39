"""What searches of rasters share."""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_models import write_bundle


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return the folder of a model of random weights."""
    write_bundle(tmp_path / "model", threshold=0.6)
    return tmp_path / "model"
