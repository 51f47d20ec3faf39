"""Rasters as a model sees them: which bands are taken for its own, and what does not fit it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
from rasterio.enums import ColorInterp

from fake_models import make_card, squares, write_bundle
from windhover.errors import DataError, ParameterError, UnsupportedError
from windhover.imagery.rasters import inspect_scene
from windhover.inference.detector import Detector
from windhover.inference.model_input import open_for_model


@pytest.mark.parametrize(
    ("profile", "error", "sentence"),
    [
        ({"dtype": "uint16"}, UnsupportedError, "holds uint16 and the model was trained on uint8"),
        ({"bands": 5}, UnsupportedError, "the model needs the bands red, green, blue"),
        ({"bands": 1}, UnsupportedError, "the model needs the bands red, green, blue"),
        ({"crs": None}, DataError, "no georeference and no GSD"),
    ],
)
def test_rasters_that_do_not_fit_the_model_say_so(
    make_scene: Any, profile: dict, error: type, sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        open_for_model(make_card(), make_scene(**profile))


def test_bands_are_chosen_by_name_and_by_position_where_names_say_nothing(make_scene: Any) -> None:
    path = make_scene(
        data=np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 70, 90), np.uint8),
        photometric="MINISBLACK",
    )
    import rasterio

    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("nir", "red", "green", "blue")
    with open_for_model(make_card(), path) as scene:
        assert scene.read(0, 0, 1, 1)[0].ravel().tolist() == [1, 2, 3]
    with open_for_model(make_card(), make_scene("plain.tif", photometric="MINISBLACK")) as scene:
        assert scene.bands == ("band1", "band2", "band3")


@pytest.mark.parametrize("driver", ["GTiff", "JPEG"])
@pytest.mark.parametrize(
    ("bands", "read"),
    [
        (("3", "2", "1"), [90, 60, 30]),
        (("2",) * 3, [60] * 3),
        (("Blue", "band2", "1"), [90, 60, 30]),
    ],
)
def test_bands_are_taken_by_name_or_number_in_any_order(
    make_scene: Any, driver: str, bands: tuple[str, ...], read: list[int]
) -> None:
    data = np.array([30, 60, 90], np.uint8)[:, None, None] * np.ones((1, 70, 90), np.uint8)
    path = make_scene(f"scene.{driver}", data=data, driver=driver, crs=None, photometric="RGB")
    with open_for_model(make_card(), path, gsd_m=1.25, bands=bands) as scene:
        assert np.abs(scene.read(7, 11, 1, 1)[0].ravel().astype(int) - read).max() <= (
            2 if driver == "JPEG" else 0
        )


def test_a_model_whose_bands_are_numbers_finds_them_by_number(make_scene: Any) -> None:
    path = make_scene(
        data=np.arange(1, 5, dtype=np.uint8)[:, None, None] * np.ones((1, 70, 90), np.uint8)
    )
    assert inspect_scene(path).bands[:3] == ("red", "green", "blue")
    for bands, read in (
        (("Band 3", "Band 2", "Band 1"), [3, 2, 1]),
        (("band1", "band2", "band3"), [1, 2, 3]),
    ):
        with open_for_model(make_card(bands=bands), path) as scene:
            assert scene.read(0, 0, 1, 1)[0].ravel().tolist() == read


def test_one_band_serves_a_model_of_three(make_scene: Any, tmp_path: Path) -> None:
    data = squares((301, 477), [(100.3, 60.7), (220.0, 210.0)], 20)
    bundle = write_bundle(tmp_path / "m", threshold=0.01)
    grey, colors = (
        make_scene("grey.tif", data=data[:1]),
        make_scene("colours.tif", data=data[:1].repeat(3, 0)),
    )
    found = Detector(bundle, bands=("1", "1", "1")).detect(grey)
    assert len(found) > 1
    pd.testing.assert_frame_equal(
        pd.DataFrame(found.drop(columns=["scene", "id", "run"])),
        pd.DataFrame(Detector(bundle).detect(colors).drop(columns=["scene", "id", "run"])),
    )


@pytest.mark.parametrize(
    ("bands", "sentence"),
    [
        (
            ("1", "2"),
            r"--bands 1,2: the model has 3 bands \(red, green, blue\)\. Name one for each",
        ),
        (
            ("1", "2", "5"),
            r"has no band '5', its bands are .*band4\. Give --bands such names, or numbers .* to 4",
        ),
        (("0", "1", "2"), "has no band '0'"),
        (("red", "1", "2"), "has no band 'red'"),
    ],
)
def test_bands_that_cannot_be_taken_are_said(
    make_scene: Any, bands: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(ParameterError, match=sentence):
        open_for_model(make_card(), make_scene(bands=4, photometric="MINISBLACK"), bands=bands)


def test_bands_called_by_numbers_are_taken_by_position(make_scene: Any) -> None:
    path = make_scene()
    with rasterio.open(path, "r+") as out:
        out.descriptions = ("1", "2", "3")
        out.colorinterp = [ColorInterp.undefined] * 3
    with open_for_model(make_card(bands=("red", "green", "blue")), path) as scene:
        assert scene.bands == ("band1", "band2", "band3")
