"""A model in numba: compiled when it is built, so that the first request does not wait for it."""

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]


@njit
def nearest(points: Floats, cities: Floats) -> npt.NDArray[np.int64]:
    """The index of the city at the least great-circle distance; both arguments are radians, (n, 2)."""
    found = np.empty(len(points), dtype=np.int64)
    for i in range(len(points)):
        best = np.inf
        for j in range(len(cities)):
            # The haversine grows with the distance, which is all that a comparison needs.
            a = np.sin((points[i, 0] - cities[j, 0]) / 2) ** 2
            b = np.sin((points[i, 1] - cities[j, 1]) / 2) ** 2
            h = a + np.cos(points[i, 0]) * np.cos(cities[j, 0]) * b
            if h < best:
                best = h
                found[i] = j
    return found


class NearestCity:
    """`cities` maps a name to its latitude and longitude in degrees."""

    def __init__(self, cities: dict[str, list[float]]) -> None:
        self.names = np.array(list(cities), dtype=object)
        self.cities = np.radians(np.array(list(cities.values()), dtype=np.float64))
        self.predict(np.zeros((1, 2)))

    def predict(self, X: Floats) -> npt.NDArray[np.object_]:
        """X holds degrees, shape (rows, 2); the answer is one name a row."""
        return self.names[nearest(np.radians(X), self.cities)]
