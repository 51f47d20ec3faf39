"""simulate: nothing -> the built-in world, tiles and complete labels for when you bring none."""

from windhover.params.simulate import SimulateParams
from windhover.run_stage import run_stage
from windhover.simulate.world import make_world


def main(params: SimulateParams) -> None:
    """Draw the world and write it to data/raw/."""
    count = make_world(params, "data/raw")
    print(f"simulate: {count} aircraft in data/raw/")


if __name__ == "__main__":
    run_stage("simulate", SimulateParams, main)
