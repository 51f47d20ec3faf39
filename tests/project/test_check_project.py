"""check.html shows what the stage `scenes` would build now, small, and changes nothing else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from conftest import MakeScene
from windhover.errors import MissingFileError
from windhover.params.parameter_sets import set_parameters
from windhover.project import init_project as flow
from windhover.project.check_project import check_project
from windhover.project.init_project import init_project
from windhover.project.request import ProjectRequest

MAX_BYTES = 5_000_000


@pytest.fixture(autouse=True)
def no_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out git and DVC, which take seconds."""
    monkeypatch.setattr(flow, "init_repository", lambda project: None)


def boats(path: Path, count: int, *, size_m: float = 18.0, spread_m: float = 1100.0) -> Path:
    """Write boxes over the scene that `make_scene((900, 1300))` makes."""
    rng = np.random.default_rng(5)
    x = 400_000 + rng.uniform(20, spread_m * 1.4, count)
    y = 5_000_000 - rng.uniform(20, spread_m, count)
    half = size_m / 2
    frame = geopandas.GeoDataFrame(
        {"class": ["boat"] * count},
        geometry=shapely.box(x - half, y - half, x + half, y + half),
        crs="EPSG:32631",
    )
    frame.to_file(path, engine="pyogrio")
    return path


def project_of(tmp_path: Path, **changes: Any) -> tuple[Path, list[str]]:
    lines: list[str] = []
    request = ProjectRequest(tmp_path / "project", scenes=tmp_path / "s", **changes)
    init_project(request, lines.append)
    return request.project, lines


def text_of(project: Path) -> str:
    """Return the page without its pictures."""
    page = (project / "check.html").read_text(encoding="utf-8")
    return re.sub(r"data:image/[^\"]*", "", page)


def test_init_writes_a_page_with_every_finding_value_and_split(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (900, 1300))
    (tmp_path / "s" / "broken.tif").write_bytes(b"not a raster")
    project, lines = project_of(tmp_path, labels=boats(tmp_path / "b.gpkg", 90))
    text = text_of(project)
    assert any(str(project / "check.html") in line for line in lines)
    for wanted in ("broken.tif", "windhover init ... --labelled positive-only"):
        assert wanted in text
    assert "windhover set scenes.gsd_m=" in text
    for split in ("train", "val", "test"):
        assert f'<rect class="{split}"' in text
    assert "http" not in text
    assert "check.html" in (project / ".gitignore").read_text(encoding="utf-8")


def test_the_page_follows_the_parameters_of_now(make_scene: MakeScene, tmp_path: Path) -> None:
    make_scene("s/one.tif", (900, 1300))
    project, _ = project_of(tmp_path, labels=boats(tmp_path / "b.gpkg", 90), minutes=5.0)
    before = {path.name for path in project.rglob("*")}
    set_parameters(project / "params.yaml", ["scenes.gsd_m=0.2", "train.max_minutes=50"])
    check_project(project)
    text = text_of(project)
    assert "<b>Now: 0.2</b>" in text
    assert re.search(r"Of (\d+) objects, \1 are longer than 78 px: a window of 64 px", text)
    assert {path.name for path in project.rglob("*")} == before


def test_a_size_as_proposed_is_no_limit_and_a_cut_scene_is_one(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    """Aircraft of up to 78 px were found best: such objects are no reason for a coarser GSD."""
    make_scene("s/one.tif", (900, 1300))
    (tmp_path / "l").mkdir()
    boats(tmp_path / "l" / "small.gpkg", 84, size_m=36.0)
    boats(tmp_path / "l" / "large.gpkg", 7, size_m=90.0)  # 72 px
    project, lines = project_of(tmp_path, labels=tmp_path / "l")
    assert [line for line in lines if "blocks, a window apart" in line]
    text = text_of(project)
    assert "longer than" not in text
    assert re.search(r"scenes\s*<[^>]*>\s*(<[^>]*>\s*)*1<", text)
    assert re.search(r"cut into \d+ parts", text)
    assert text.count("guard strips") <= 1


def test_many_scenes_stay_a_small_page(make_scene: MakeScene, tmp_path: Path) -> None:
    first = make_scene("s/one.tif", (300, 350), dtype="uint16")
    for number in range(11):
        shutil.copy(first, tmp_path / "s" / f"copy{number:02}.tif")
    project, _ = project_of(tmp_path, labels=boats(tmp_path / "b.gpkg", 30, spread_m=340))
    page = project / "check.html"
    assert page.stat().st_size < MAX_BYTES
    n_pictures = page.read_text(encoding="utf-8").count("data:image/")
    assert 3 <= n_pictures <= 8


def test_a_folder_without_a_project_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"has no params\.yaml"):
        check_project(tmp_path)


def test_what_init_told_is_on_the_page_once_and_files_keep_their_names(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (900, 1300))
    labels = boats(tmp_path / "boats.gpkg", 60)
    frame = geopandas.read_file(labels).drop(columns="class")
    labels.unlink()
    frame.to_file(labels)
    project, _ = project_of(tmp_path, labels=labels)
    text = text_of(project)
    assert text.count("no column is known as the class") == 1
    assert "Boats.gpkg" not in text
    assert "Boats.gpkg" not in (project / "README.md").read_text(encoding="utf-8")
