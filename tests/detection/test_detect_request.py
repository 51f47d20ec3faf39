"""What `windhover detect` is asked for: options in words, and what is wrong with them."""

from __future__ import annotations

import pytest

from windhover.detection.detect_request import parse_bands, parse_scales
from windhover.errors import ParameterError


@pytest.mark.parametrize("text", ["", "1,", ",2", "1,,2"])
def test_bands_with_nothing_between_commas_are_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="--bands must be bands with commas between"):
        parse_bands(text)


@pytest.mark.parametrize("text", ["", "1,", "a", "0", "1,-2", "nan", "1000"])
def test_other_scales_are_refused(text: str) -> None:
    with pytest.raises(ParameterError, match=r"--scales must be numbers in 0\.1\.\.10"):
        parse_scales(text)
