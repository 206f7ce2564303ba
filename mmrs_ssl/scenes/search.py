"""Find the windows of large scenes that hold enough data, and keep what was found."""

from collections.abc import Callable, Mapping

import numpy as np
from mmengine.logging import print_log

from mmrs_ssl.rasters.access import Access
from mmrs_ssl.scenes.index import Scene
from mmrs_ssl.scenes.usable import Loader, search_scene
from mmrs_ssl.scenes.window_plan import WindowPlan


class DataSearch:
    """Search scenes for windows with data, each once in every process.

    Args:
        plan: the windows of all scenes.
        scene: returns a scene by its number.
        loaders: by modality, '' for one that takes whatever there is.
        access: where reading may go.
        max_nodata: largest share of empty pixels, in [0, 1].
    """

    def __init__(
        self,
        plan: WindowPlan,
        scene: Callable[[int], Scene],
        loaders: Mapping[str, Loader],
        access: Access,
        max_nodata: float,
    ) -> None:
        self.plan, self.scene = plan, scene
        self.reading = loaders, access, max_nodata
        self.found: dict[int, np.ndarray] = {}  # by scene, one bit for every window of its grid, or corners (N, 2)

    def corners(self, number: int) -> np.ndarray:
        """Return the upper left corners, (N, 2), of the windows of a scene's grid that hold enough data.

        Where dates cover different parts of the scene, these are the windows of every date's own grid.
        """
        plan, scene = self.plan, self.scene(number)
        if number not in self.found:
            height, width = scene.extent[2:]
            print_log(f'searching the {height} x {width} pixels of scene {scene.name!r} for data', 'current')
            if scene.uniform:
                self.found[number] = np.packbits(search_scene(plan, number, scene, *self.reading))
            else:
                self.found[number] = self._by_date(number, scene)
        if not scene.uniform:
            return self.found[number]
        bits = np.unpackbits(self.found[number], count=plan.grid_size(number))
        return plan.grid_corners(number, np.flatnonzero(bits))

    def _by_date(self, number: int, scene: Scene) -> np.ndarray:
        found = []
        for date, extent in scene.extents.items():
            layers = {modality: {date: dates[date]} for modality, dates in scene.layers.items()}
            part = scene._replace(layers=layers, extent=extent, extents={date: extent})
            plan = WindowPlan([part], *self.plan.lengths, random=False)
            found.append(plan.grid_corners(0, np.flatnonzero(search_scene(plan, 0, part, *self.reading))))
        corners = np.unique(np.concatenate(found), axis=0)
        return corners[self.plan.uneven[number].nearest(corners)[1] == 0].astype(np.int32)
