"""What a served model may read: files below one folder and addresses of named hosts, nothing else.

A server reads nothing until whoever starts it names both by environment variables. Outside a server
everything may be read, unless one of the variables is set.
"""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import rasterio
from rasterio.errors import DriverRegistrationError, NotGeoreferencedWarning, RasterioError

from windhover.errors import ParameterError, WindhoverError

FOLDER_VARIABLE = "WINDHOVER_SERVE_FOLDER"
HOSTS_VARIABLE = "WINDHOVER_SERVE_HOSTS"
# MLflow sets it in the processes that answer requests
SERVING_VARIABLE = "_MLFLOW_IS_IN_SERVING_ENVIRONMENT"
# formats that hold their own pixels; mosaics and services may point at any file or address
SELF_CONTAINED = ("GTiff", "JPEG", "PNG", "JP2OpenJPEG", "WEBP", "BMP")
GEOJSON_START = b"{"
GEOPACKAGE_START = b"SQLite format 3"


class RefusedSourceError(WindhoverError, PermissionError):
    """A source that the server was not started for."""


@dataclass(frozen=True)
class ServedSources:
    """What may be read.

    Attributes:
        folder: files below it, links resolved; None for no files.
        hosts: names in lower case, with the port where it is not the usual one.
        is_open: whether anything may be read.
    """

    folder: Path | None = None
    hosts: frozenset[str] = frozenset()
    is_open: bool = False

    @classmethod
    def from_environment(cls) -> ServedSources:
        """Return what the environment variables of this process allow.

        Raises:
            ParameterError: the folder is none.
        """
        folder = os.environ.get(FOLDER_VARIABLE, "")
        hosts = os.environ.get(HOSTS_VARIABLE, "")
        if not folder and not hosts:
            return cls(is_open=os.environ.get(SERVING_VARIABLE, "").lower() != "true")
        if folder and not Path(folder).is_dir():
            raise ParameterError(
                f"{FOLDER_VARIABLE}={folder}: no such folder. Name the folder of the rasters."
            )
        names = frozenset(host.lower() for host in re.split(r"[\s,]+", hosts) if host)
        return cls(Path(folder).resolve() if folder else None, names)

    def raster(self, name: str) -> str:
        """Return the path or address of a raster that may be read.

        Raises:
            RefusedSourceError: it may not be read, or is a mosaic that may point elsewhere.
        """
        if self.is_open:
            return name
        source = self._address(name) if _is_address(name) else str(self._file(name))
        if not _holds_its_own_pixels(source):
            raise RefusedSourceError(
                f"{name}: no raster that this server reads ({', '.join(SELF_CONTAINED)}); mosaics "
                "such as VRT may point elsewhere. Name the rasters themselves."
            )
        return source

    def polygons(self, name: str) -> Path:
        """Return the path of a vector file that may be read.

        Raises:
            RefusedSourceError: it may not be read.
        """
        if self.is_open:
            return Path(name)
        path = self._file(name)
        with path.open("rb") as file:
            start = file.read(64).lstrip()
        if not start.startswith((GEOJSON_START, GEOPACKAGE_START)):
            raise RefusedSourceError(
                f"{name}: no area that this server reads. Give GeoJSON or GeoPackage."
            )
        return path

    def _address(self, name: str) -> str:
        """Return an address whose host is named."""
        parts = urlsplit(name)
        host = parts.netloc.lower()
        is_plain = parts.scheme.lower() in ("http", "https") and re.fullmatch(r"[\w.:\[\]-]+", host)
        if not is_plain or re.search(r"[\\\s]", name) or host not in self.hosts:
            named = ", ".join(sorted(self.hosts)) or "none"
            raise RefusedSourceError(
                f"{name}: this server reads from no such host (named: {named}). Whoever starts it "
                f"names hosts by {HOSTS_VARIABLE}."
            )
        return name

    def _file(self, name: str) -> Path:
        """Return an existing file below the folder; relative names begin there."""
        if self.folder is not None and "\0" not in name:
            path = (self.folder / name).resolve()
            if path.is_relative_to(self.folder) and path.is_file():
                return path
        # one sentence for what is not there and what may not be read: no one learns what exists
        raise RefusedSourceError(
            f"{name!r}: no file below the folder that this server reads. Whoever starts it names "
            f"the folder by {FOLDER_VARIABLE}."
        )


def _holds_its_own_pixels(source: str) -> bool:
    """Return whether a raster opens as one of the formats that point nowhere else."""
    for driver in SELF_CONTAINED:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(source, driver=driver):
                    return True
        except (RasterioError, DriverRegistrationError):
            continue
    return False


def _is_address(name: str) -> bool:
    """Return whether a name is an address, and no path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", name) is not None
