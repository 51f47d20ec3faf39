"""Pages: they stand alone, escape what they show, and a browser shows all of it at any width."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError
from PIL import Image

from windhover.rendering.html_page import (
    card_of,
    embed_file,
    embed_image,
    render_page,
    table_of,
)

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(np.full((300, 700, 3), 90, np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def sample(picture: Path) -> str:
    frame = pd.DataFrame(
        {
            "scene": ["a <b>", "c & d"],
            "recall": [0.5, np.nan],
            "objects": [3, 12345],
            **{f"more {k}": 0.1 for k in range(9)},
        }
    )
    return render_page(
        "data_page.html.j2",
        title="How good?",
        summary="1 < 2",
        notes=["rule <x> cannot be met."],
        label_tables=[("Scenes", table_of(frame, ("scene",)))],
        objects=embed_image(Image.new("RGB", (960, 400)), "a sheet", "wide"),
        scenes=[embed_file(picture, 'a "curve"')],
        scene_table=None,
    )


class Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_it_fetches_nothing_and_runs_nothing(picture: Path) -> None:
    text = sample(picture)
    assert "<script" not in text
    assert re.findall(r'(?:src|href)="(?!data:)', text) == []
    assert "http" not in text
    assert "url(" not in text


def test_values_are_escaped(picture: Path) -> None:
    text = sample(picture)
    assert "1 &lt; 2" in text
    assert "a &lt;b&gt;" in text
    assert "rule &lt;x&gt; cannot be met." in text
    assert 'alt="a &#34;curve&#34;"' in text


def test_every_element_is_closed(picture: Path) -> None:
    parser = Balanced()
    parser.feed(sample(picture))
    assert parser.open == []


def test_the_same_values_give_the_same_page(picture: Path) -> None:
    assert sample(picture) == sample(picture)


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="summary"):
        render_page("data_page.html.j2", title="How good?")


def test_a_card_has_three_digits_and_its_interval() -> None:
    card = card_of("recall", (0.91234, 0.88, 0.95))
    assert (card.value, card.interval) == ("0.912", "95 %: 0.880 to 0.950")
    assert card_of("recall", (None, None, None)).interval == "no interval"


def test_a_table_has_formatted_cells() -> None:
    table = table_of(pd.DataFrame({"scene": ["a"], "recall": [np.nan], "objects": [7]}), ("scene",))
    assert table.rows == (("a", "–", "7"),)
    assert [column.is_text for column in table.columns] == [True, False, False]


@pytest.mark.skipif(BROWSER is None, reason="needs a browser: install chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_it_without_scrolling_sideways(
    picture: Path, tmp_path: Path, width: int
) -> None:
    # a probe that only the test adds: the page reports its own width and its pictures' sizes
    probe = (
        "<script>document.title=[document.documentElement.scrollWidth,innerWidth,"
        "...[...document.images].map(i=>i.naturalWidth)].join()</script>"
    )
    (tmp_path / "page.html").write_text(
        sample(picture).replace("</body>", f"{probe}</body>"), encoding="utf-8"
    )
    # a narrow window cannot be asked for, a frame can
    frame = f'<iframe src="page.html" style="width:{width}px;height:900px;border:0"></iframe>'
    seen = 'document.querySelector("iframe").contentDocument.title'
    script = f"<script>onload=()=>document.body.dataset.seen={seen}</script>"
    (tmp_path / "frame.html").write_text(f"<!doctype html>{frame}{script}", encoding="utf-8")
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--allow-file-access-from-files",
        "--dump-dom",
    ]
    command += [f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "frame.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    seen = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert seen is not None
    scroll, inner, *pictures = (int(value) for value in seen.group(1).split(","))
    assert inner == width
    assert scroll <= width
    assert pictures == [960, 700]


def test_a_long_table_shows_its_first_rows_and_counts_the_others(picture: Path) -> None:
    frame = pd.DataFrame({"scene": [f"s{number}" for number in range(1234)]})
    table = table_of(frame, ("scene",))
    assert (len(table.rows), table.n_left_out) == (500, 734)
    page = render_page(
        "data_page.html.j2",
        title="The data",
        summary="",
        notes=[],
        label_tables=[("Scenes", table)],
        objects=None,
        scenes=[],
        scene_table=None,
    )
    assert "The first 500 rows; 734 more are left out" in page
