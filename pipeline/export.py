"""export: detections -> GeoPackage, GeoParquet, GeoJSON and a map page in data/map/."""

from windhover.export.export_map import export_map
from windhover.params.export import ExportParams
from windhover.run_stage import run_stage


def main(params: ExportParams) -> None:
    """Write the detections for a map and print what was written."""
    for sentence in export_map(
        "data/detections",
        "data/map",
        params.formats,
        catalog_folder="data/scenes",
        areas=params.areas,
        model_folder="data/model",
    ):
        print(sentence)


if __name__ == "__main__":
    run_stage("export", ExportParams, main)
