"""Rasters: what they hold, what is missing in them, and the same pixels for any block."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp

from conftest import MakeScene
from windhover.dataset.discover import raster_paths
from windhover.errors import (
    DataError,
    FormatError,
    MissingFileError,
    UnsupportedError,
    WindhoverError,
)
from windhover.geometry.windows import Bounds
from windhover.imagery import scenes
from windhover.imagery.rasters import inspect_scene, open_raster
from windhover.imagery.scenes import open_scene


def test_inspect_returns_what_a_raster_is(make_scene: MakeScene) -> None:
    info = inspect_scene(make_scene(nodata=0, tiled=True, blockxsize=64, blockysize=128))
    assert info.name == "scene"
    assert info.shape_hw == (150, 210)
    assert (info.dtype, info.nodata) == ("uint8", 0.0)
    assert info.crs == "EPSG:32631"
    assert info.gsd_m == (1.25, 1.25)
    assert info.bands == ("red", "green", "blue")
    assert info.file_block_hw == (128, 64)
    assert not info.is_striped


def test_native_read_is_the_file(make_scene: MakeScene) -> None:
    path = make_scene(bands=4, dtype="uint16")
    with rasterio.open(path) as dataset, open_scene(path) as scene:
        array, valid = scene.read(20, 30, 40, 50)
        assert (array == dataset.read(window=((20, 60), (30, 80)))).all()
        assert valid.all()
        assert array.dtype == np.uint16


def test_outside_is_zero_and_invalid(make_scene: MakeScene) -> None:
    with open_scene(make_scene()) as scene:
        array, valid = scene.read(-10, 200, 20, 20)
        assert valid[10:, :10].all()
        assert valid.sum() == 100
        assert not array[:, ~valid].any()
        assert not scene.read(500, 500, 4, 4)[1].any()


@given(
    st.sampled_from([0.6, 1.0, 1.25, 1.9, 3.125, 7.0]),
    st.integers(-5, 80),
    st.integers(-5, 80),
    st.integers(1, 60),
    st.integers(1, 60),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_block_of_any_scale_is_a_cut_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    gsd: float,
    row: int,
    col: int,
    height: int,
    width: int,
) -> None:
    path = tmp_path_factory.getbasetemp() / "blocks.tif"
    if not path.exists():
        data = np.random.default_rng(1).integers(0, 4000, (2, 97, 133)).astype(np.uint16)
        data[:, 30:50, 60:90] = 7
        size = {"height": 97, "width": 133, "count": 2, "dtype": "uint16", "nodata": 7}
        place = {"crs": "EPSG:32719", "transform": Affine(1.25, 0, 3e5, 0, -1.25, 8e6)}
        with rasterio.open(path, "w", driver="GTiff", **size, **place) as dataset:
            dataset.write(data)
    with open_scene(path, target_gsd_m=gsd) as scene:
        rows, cols = scene.shape_hw
        whole, seen = scene.read(-5, -5, rows + 150, cols + 150)
        part, part_seen = scene.read(row, col, height, width)
        inside = slice(row + 5, row + 5 + height), slice(col + 5, col + 5 + width)
        assert (part == whole[:, *inside]).all()
        assert (part_seen == seen[inside]).all()
        with scene.at_gsd(gsd) as other:
            other.preload()
            assert (other.read(row, col, height, width)[0] == part).all()


def test_the_grid_of_another_gsd_starts_at_the_same_corner(make_scene: MakeScene) -> None:
    with open_scene(make_scene(gsd_m=0.5), target_gsd_m=1.25) as scene:
        assert scene.ratio_xy == (2.5, 2.5)
        assert scene.shape_hw == (60, 84)
        assert scene.transform @ (0, 0) == scene.info.transform @ (0, 0)
        assert scene.transform @ (4, 2) == pytest.approx(scene.info.transform @ (10, 5))
        assert scene.gsd_m == (1.25, 1.25)


def test_the_block_cache_holds_blocks(make_scene: MakeScene) -> None:
    with open_raster(make_scene()):
        assert rasterio.env.get_gdal_config("GDAL_CACHEMAX") == 256 * 2**20  # bytes, not megabytes


def test_overviews_are_not_used(make_scene: MakeScene) -> None:
    path = make_scene(shape_hw=(512, 640), tiled=True, blockxsize=128, blockysize=128)
    with open_scene(path, target_gsd_m=5.0) as scene:
        before, _ = scene.read(0, 0, *scene.shape_hw)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], rasterio.enums.Resampling.nearest)
    with open_scene(path, target_gsd_m=5.0) as scene:
        assert (scene.read(0, 0, *scene.shape_hw)[0] == before).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_taken_dtypes_come_back_as_they_are(make_scene: MakeScene, dtype: str) -> None:
    with open_scene(make_scene(dtype=dtype), target_gsd_m=3.0) as scene:
        array, valid = scene.read(0, 0, 10, 10)
        assert array.dtype == np.dtype(dtype)
        assert valid.all()


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint32", "complex64", "int8"])
def test_other_dtypes_end_in_one_sentence(make_scene: MakeScene, dtype: str) -> None:
    path = make_scene(data=np.ones((1, 20, 30), dtype))
    with pytest.raises(
        UnsupportedError, match=f"dtype {dtype.replace('complex64', 'complex')}.* is not taken"
    ):
        inspect_scene(path)


def test_nan_and_negative_nodata_are_missing(make_scene: MakeScene) -> None:
    data = np.ones((2, 20, 30), np.float32)
    data[0, 3, 4], data[1, 5, 6] = np.nan, -9999
    with open_scene(make_scene(data=data, nodata=-9999)) as scene:
        array, valid = scene.read(0, 0, 20, 30)
    assert not valid[3, 4]
    assert not valid[5, 6]
    assert valid.sum() == 598
    assert array[:, 3, 4].tolist() == [0, 0]


@pytest.mark.parametrize("nodata", [0, 255])
def test_nodata_in_one_band_of_a_picture_is_a_brightness(
    make_scene: MakeScene, nodata: int
) -> None:
    data = np.full((3, 20, 30), 9, np.uint8)
    data[0, 3, 4] = nodata
    data[:, 5, 6] = nodata
    with open_scene(make_scene(data=data, nodata=nodata)) as scene:
        array, valid = scene.read(0, 0, 20, 30)
    assert valid.sum() == 599
    assert not valid[5, 6]
    assert (array[:, valid] == data[:, valid]).all()


def test_a_nodata_that_the_dtype_cannot_hold_means_nothing(make_scene: MakeScene) -> None:
    path = make_scene(data=np.full((1, 20, 30), 241, np.uint8))
    name = f'<SourceFilename relativeToVRT="1">{path.name}</SourceFilename>'
    content = f"<NoDataValue>-9999</NoDataValue><SimpleSource>{name}</SimpleSource>"
    band = f'<VRTRasterBand dataType="Byte" band="1">{content}</VRTRasterBand>'
    place = "<SRS>EPSG:32631</SRS><GeoTransform>4e5,1,0,5e6,0,-1</GeoTransform>"
    text = f'<VRTDataset rasterXSize="30" rasterYSize="20">{place}{band}</VRTDataset>'
    vrt = path.with_suffix(".vrt")
    vrt.write_text(text)
    with open_scene(vrt) as scene:
        assert scene.read(0, 0, 20, 30)[1].all()


def test_an_alpha_band_is_a_mask_not_a_band(make_scene: MakeScene) -> None:
    path = make_scene(bands=4)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = (
            ColorInterp.red,
            ColorInterp.green,
            ColorInterp.blue,
            ColorInterp.alpha,
        )
        alpha = np.full((150, 210), 255, np.uint8)
        alpha[:40] = 0
        dataset.write(alpha, 4)
    with open_scene(path) as scene:
        assert scene.bands == ("red", "green", "blue")
        array, valid = scene.read(0, 0, 150, 210)
    assert not valid[:40].any()
    assert valid[40:].all()
    assert not array[:, :40].any()


@pytest.mark.parametrize("internal", [True, False])
def test_internal_and_external_masks_are_read(make_scene: MakeScene, internal: bool) -> None:
    path = make_scene()
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, "r+") as dataset:
        mask = np.full((150, 210), 255, np.uint8)
        mask[:, 100:] = 0
        dataset.write_mask(mask)
    assert path.with_name(path.name + ".msk").exists() != internal
    with open_scene(path) as scene:
        _, valid = scene.read(0, 90, 150, 30)
    assert valid[:, :10].all()
    assert not valid[:, 10:].any()


def test_bands_are_read_by_name_in_the_wanted_order(make_scene: MakeScene) -> None:
    path = make_scene(bands=4, dtype="uint16")
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("B02", "B03", "B04", "B08")
        data = dataset.read()
    with open_scene(path, bands=["B08", "B02"]) as scene:
        assert (scene.read(0, 0, 150, 210)[0] == data[[3, 0]]).all()
    with pytest.raises(DataError, match="has no band 'B11'; its bands are B02, B03, B04, B08"):
        open_scene(path, bands=["B11"])


def test_scale_and_offset_are_recorded_and_not_applied(make_scene: MakeScene) -> None:
    path = make_scene(bands=1, dtype="uint16")
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.0001,), (-0.1,)
        data = dataset.read()
    with open_scene(path) as scene:
        assert (scene.info.scales, scene.info.offsets) == ((0.0001,), (-0.1,))
        assert (scene.read(0, 0, 150, 210)[0] == data).all()


def test_a_picture_without_georeference_needs_a_stated_gsd(make_scene: MakeScene) -> None:
    path = make_scene("picture.png", crs=None, driver="PNG")
    with pytest.raises(DataError, match="has no georeference and no GSD is stated"):
        inspect_scene(path)
    info = inspect_scene(path, native_gsd_m=0.5)
    assert info.crs is None
    assert info.transform == Affine(0.5, 0, 0, 0, -0.5, 0)


def test_a_stated_gsd_does_not_touch_a_georeference(make_scene: MakeScene) -> None:
    info = inspect_scene(make_scene(), native_gsd_m=0.5)
    assert info.gsd_m == (1.25, 1.25)
    assert "not used" in info.notes[0]


def test_a_missing_file_and_a_text_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such file"):
        inspect_scene(tmp_path / "none.tif")
    (tmp_path / "text.tif").write_text("not a raster")
    with pytest.raises(FormatError, match="GDAL cannot open it"):
        inspect_scene(tmp_path / "text.tif")


def test_a_damaged_file_is_named_with_the_place(make_scene: MakeScene) -> None:
    path = make_scene(
        shape_hw=(300, 500), compress="deflate", tiled=True, blockxsize=128, blockysize=128
    )
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with (
        pytest.raises(FormatError, match=r"scene\.tif.*(cannot read rows|GDAL cannot open)"),
        open_scene(path) as scene,
    ):
        scene.read(0, 0, 300, 500)


@pytest.mark.parametrize("gsd", [1.25, 3.125, 0.7])
def test_strips_that_are_read_ahead_change_nothing(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch, gsd: float
) -> None:
    path = make_scene(shape_hw=(150, 210), nodata=0)
    with open_scene(path, gsd) as scene:
        height, width = scene.shape_hw
        whole = scene.read(0, 0, height, width), scene.read(-7, 3, height + 9, width)
        monkeypatch.setattr(scenes, "STRIP_SOURCE_PX", 900)
        strips = scene.read(0, 0, height, width), scene.read(-7, 3, height + 9, width)
        for (pixels, valid), (again, seen) in zip(whole, strips, strict=True):
            assert np.array_equal(pixels, again)
            assert np.array_equal(valid, seen)
            assert pixels.any()


def test_a_strip_holds_a_row_of_the_files_blocks(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenes, "STRIP_SOURCE_PX", 1)
    path = make_scene(shape_hw=(300, 500), tiled=True, blockxsize=128, blockysize=128)
    with open_scene(path, 2.5) as scene:
        whole = Bounds(0, 150, left=0, right=250)
        strips = [bounds for bounds, _ in scene._read_strips(whole, scene._strip_rows(250))]
        assert [strip.bottom - strip.top for strip in strips] == [64, 64, 22]
        monkeypatch.setattr(scenes, "MAX_STRIP_SOURCE_PX", 10_000)
        # unless such a row is more than memory should hold
        assert scene._strip_rows(250) == 10


def test_damage_in_a_later_strip_is_named_too(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenes, "STRIP_SOURCE_PX", 20_000)
    path = make_scene(
        shape_hw=(300, 500), compress="deflate", tiled=True, blockxsize=128, blockysize=128
    )
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = b"x" * (len(content) - len(content) // 2)
    path.write_bytes(content)
    with (
        pytest.raises(FormatError, match=r"scene\.tif: cannot read rows \d+ to"),
        open_scene(path, 2.5) as scene,
    ):
        scene.read(0, 0, *scene.shape_hw)


@pytest.mark.parametrize(
    ("descriptions", "colors", "names"),
    [
        (None, "red green blue undefined", ("red", "green", "blue", "band4")),  # such as NAIP
        (None, "gray undefined undefined undefined", ("band1", "band2", "band3", "band4")),
        (None, "red red green blue", ("band1", "band2", "band3", "band4")),
        (
            "Band_1 Band_2 Band_3 Band_4",
            "red green blue undefined",
            ("red", "green", "blue", "band4"),
        ),
        ("B02 B03 B04 B08", "red green blue undefined", ("B02", "B03", "B04", "B08")),
        ("nir", "red green blue undefined", ("red", "green", "blue", "band4")),
    ],
)
def test_bands_have_the_most_telling_names(
    make_scene: MakeScene, descriptions: str | None, colors: str, names: tuple[str, ...]
) -> None:
    path = make_scene(bands=4, photometric="MINISBLACK")
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp[color] for color in colors.split()]
        if descriptions is not None:
            dataset.descriptions = (*descriptions.split(), *[None] * 3)[:4]
    assert inspect_scene(path).bands == names


def test_rasters_inside_a_file_are_named_and_a_folder_is_none(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    path = make_scene(shape_hw=(150, 210))
    assert inspect_scene(f"GTIFF_DIR:1:{path}").shape_hw == (150, 210)
    with pytest.raises(FormatError, match=r"GTIFF_DIR:9:.*GDAL cannot open it"):
        inspect_scene(f"GTIFF_DIR:9:{path}")
    with pytest.raises(
        FormatError, match=r"is a folder\. Name the rasters in it, such as .*/\*\.tif"
    ):
        inspect_scene(tmp_path)


def test_a_palette_is_refused(make_scene: MakeScene) -> None:
    path = make_scene(bands=1)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})
    with pytest.raises(UnsupportedError, match="palette"):
        inspect_scene(path)


def test_threads_read_the_same_through_their_own_handles(make_scene: MakeScene) -> None:
    with open_scene(
        make_scene(shape_hw=(300, 500), tiled=True, blockxsize=64, blockysize=64), target_gsd_m=2.0
    ) as scene:
        whole, _ = scene.read(0, 0, *scene.shape_hw)
        wrong: list[int] = []

        def work(start: int) -> None:
            rows = range(start, scene.shape_hw[0] - 20, 7)
            parts = ((row, scene.read(row, 3, 20, 100)[0]) for row in rows)
            wrong.extend(
                row for row, part in parts if not (part == whole[:, row : row + 20, 3:103]).all()
            )

        threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert len(scene._reader.handles) == 5
    with pytest.raises(ValueError, match="closed"):
        scene.read(0, 0, 1, 1)


def test_every_odd_raster_enters_or_ends_in_one_sentence(real_data: Path) -> None:
    files = [
        path
        for name in ("georaster", "neon-trees", "sen2ships")
        for path in raster_paths(real_data / name)
    ]
    assert len(files) >= 60
    refused = {}
    for path in files:
        try:
            with open_scene(path, native_gsd_m=0.5) as scene:
                array, valid = scene.read(0, 0, *scene.shape_hw)
                assert np.isfinite(array.astype(float)).all()
                assert not array[:, ~valid].any()
                with rasterio.open(path) as file:
                    delivered = file.read(list(range(1, scene.n_bands + 1)))
                    # decoders of JPEG enlarge colours differently
                    apart = 0.25 if file.driver == "JPEG" else 0.0
                difference = np.abs(
                    array[:, valid].astype(float) - delivered[:, valid].astype(float)
                )
                assert not difference.size or difference.mean() <= apart
        except WindhoverError as error:
            refused[path.name] = error.sentence()
    assert all(name in sentence for name, sentence in refused.items())
    assert set(refused) == {
        "au-gcp.tif",
        "RGB.byte.gcp.vrt",
        "RGB.byte.rpc.vrt",
        "cog_gcps_ovr.tif",
        "corrupt.tif",
        "float.tif",
    }


@given(height=st.integers(20, 60), width=st.integers(20, 60), gsd=st.floats(0.4, 7.0))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_whole_raster_has_no_hole_at_its_borders(
    make_scene: MakeScene, height: int, width: int, gsd: float
) -> None:
    """A half covered last row would be a dark line, and its mirror a cross in the corner."""
    path = make_scene(
        data=np.full((1, height, width), 137, np.uint8), gsd_m=1.0, name=f"s{height}x{width}.tif"
    )
    with open_scene(path, target_gsd_m=gsd) as scene:
        pixels, valid = scene.read(0, 0, *scene.shape_hw)
    assert valid.all()
    assert np.ptp(pixels) == 0


def test_blocks_of_the_file_are_smaller_on_a_coarser_grid(make_scene: MakeScene) -> None:
    path = make_scene(tiled=True, blockxsize=64, blockysize=128)
    with open_scene(path, 2.5) as scene:
        assert scene.file_block_hw == (64, 32)
    with open_scene(path, 0.625) as scene:
        assert scene.file_block_hw == (256, 128)
