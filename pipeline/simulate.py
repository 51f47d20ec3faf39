"""simulate: nothing -> the built-in world, tiles with complete labels, when you bring none."""

from windhover.params.simulate import SimulateParams
from windhover.run_stage import run_stage
from windhover.simulate.sky_world import make_sky
from windhover.simulate.world import make_world


def main(params: SimulateParams) -> None:
    """Draw the world and write it to data/raw/."""
    if params.world == "clouds":
        print(f"simulate: {make_sky(params, 'data/raw')} scenes of clouds in data/raw/")
        return
    count = make_world(params, "data/raw")
    print(f"simulate: {count} aircraft in data/raw/")


if __name__ == "__main__":
    run_stage("simulate", SimulateParams, main)
