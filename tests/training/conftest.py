"""The catalog that tests of mining and of large patches share."""

from __future__ import annotations

import pytest

from one_scene import one_scene_catalog
from windhover.dataset.catalog import Catalog


@pytest.fixture
def catalog(make_scene) -> Catalog:
    """One scene with an object, a missed object, a look-alike and an ignored label."""
    return one_scene_catalog(make_scene)
