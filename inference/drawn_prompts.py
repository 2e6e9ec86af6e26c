"""Points and a stroke drawn at random inside a box, which some decoders take besides the box.

As Swin-LiteMedSAM asks its decoder (RuochenGao/Swin_LiteMedSAM, ``infer.py``; the stroke is SEEM's
free-form curve).  Only pixels that are not 0 in the encoder's input, which are those brighter than
the picture's darkest, are drawn from.

The published program draws from NumPy's old global generator and from torch's, both the Mersenne
Twister, and both seeded once: :class:`Draws` gives the same numbers in the same order.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.resample import Rect
from inference.rules import DrawnPromptRule
from inference.stroke_drawing import draw_disc, draw_line, largest_part

Shown = NDArray[np.bool_]
"""(S, S): what of the encoder's input may be drawn from."""

TRIES = 6
"""Strokes that are drawn at most for a box."""

LEAST_PIXELS = 6
"""A stroke of fewer is drawn again."""

BRUSH = (3, 10)
"""Width of a stroke, pixels; from, below."""

VERTICES = (10, 30)
"""Corners of a stroke after its first; from, below."""

MOST_SPEED, MOST_ACCELERATION, MOST_TURN = 20.0, 15.0, 0.5
"""Pixels from corner to corner; by how much that, and the direction in radians, change."""

SHIFT, JITTER = 3.0, 3
"""Standard deviation of the shift of the whole stroke, pixels; of half of its corners, at most."""


@dataclass(frozen=True)
class DrawnPrompt:
    """What is asked besides a box, in the encoder's input."""

    points: NDArray[np.float32]
    """(4, 2) x, y: one in each quarter of the box, anticlockwise from the upper left; the middle of
    the box where a quarter has nothing to draw from."""
    stroke: NDArray[np.bool_]
    """(S, S)."""


class Draws:
    """The random numbers of one box or one case."""

    def __init__(self, rule: DrawnPromptRule) -> None:
        self._numpy = np.random.RandomState(rule.seed)
        self._torch = np.random.MT19937()
        seeded: Any = np.random.RandomState(rule.seed).get_state(legacy=False)
        self._torch.state = seeded
        self._torch.random_raw(rule.skipped, output=False)

    def prompt(self, box: Rect, shown: Shown) -> DrawnPrompt:
        """Points and a stroke for a box, first and last pixels, of the encoder's input."""
        return DrawnPrompt(self._points(box, shown), self._stroke(box, shown))

    def _points(self, box: Rect, shown: Shown) -> NDArray[np.float32]:
        x0, y0, x1, y1 = box
        width, height = x1 - x0, y1 - y0
        dx = self._below(int(width / 5), int(2 * width / 4) - 1)
        dy = self._below(int(height / 5), int(2 * height / 4) - 1)
        middle = (int((x0 + x1) // 2), int((y0 + y1) // 2))
        left, right = (int(x0 + dx), middle[0]), (middle[0], int(x1 - dx))
        upper, lower = (int(y0 + dy), middle[1]), (middle[1], int(y1 - dy))
        points = []
        for rows, columns in ((upper, left), (lower, left), (lower, right), (upper, right)):
            ys, xs = np.nonzero(shown[slice(*rows), slice(*columns)])
            if ys.size == 0:
                points.append(middle)
                continue
            x = int(self._numpy.choice(xs)) + columns[0]  # of another pixel than y: as published
            points.append((x, int(self._numpy.choice(ys)) + rows[0]))
        return np.array(points, np.float32)

    def _stroke(self, box: Rect, shown: Shown) -> NDArray[np.bool_]:
        x0, y0, x1, y1 = box
        dx = self._below(int((x1 - x0) / 8), int((x1 - x0) / 6))
        dy = self._below(int((y1 - y0) / 8), int((y1 - y0) / 6))
        rows, columns = slice(int(y0 + dy), int(y1 - dy)), slice(int(x0 + dx), int(x1 - dx))
        inside = np.zeros_like(shown)
        inside[rows, columns] = shown[rows, columns]
        places = np.flatnonzero(inside)
        if places.size == 0:
            return inside
        for left in reversed(range(TRIES + 1)):
            y, x = divmod(int(places[self._first_of_permutation(len(places))]), shown.shape[1])
            stroke = self._curve(float(x), float(y), shown.shape[0]) & inside
            if left == 0:  # the published program draws once more and looks at nothing
                break
            stroke = largest_part(stroke)
            if stroke.sum() >= LEAST_PIXELS:
                return stroke
        return np.zeros_like(inside)

    def _curve(self, x: float, y: float, side: int) -> NDArray[np.bool_]:
        """A free-form stroke that begins near a point, over the whole input."""
        numbers = self._numpy
        brush = numbers.randint(*BRUSH)
        corners = [(x, y)]
        count = numbers.randint(*VERTICES)
        angle, speed = numbers.uniform(0, 2 * np.pi), numbers.uniform(0, MOST_SPEED)
        for _ in range(count):
            speed += numbers.uniform(-MOST_ACCELERATION, MOST_ACCELERATION)
            angle += numbers.uniform(-MOST_TURN, MOST_TURN)
            speed = min(max(speed, 0.0), MOST_SPEED)
            x, y = x + speed * np.sin(angle), y + speed * np.cos(angle)
            corners.append((x, y))
        placed = self._moved(np.array(corners))
        canvas = np.zeros((side, side), np.bool_)
        whole = [(int(x), int(y)) for x, y in placed]
        for start, end in zip(whole[:-1], whole[1:], strict=True):
            draw_line(canvas, start, end, brush)
        for x, y in placed:
            draw_disc(canvas, x, y, brush // 2 - 1)
        return canvas

    def _moved(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """All corners (N, 2) shifted together, half of them a little more."""
        numbers = self._numpy
        shift, angle = abs(numbers.normal(0, SHIFT)), numbers.uniform(0, 2 * np.pi)
        corners += [int(shift * np.cos(angle)), int(shift * np.sin(angle))]
        numbers.normal(size=2)  # the published program works out a speed that it does not use
        chosen = np.arange(len(corners))
        numbers.shuffle(chosen)
        for i in chosen[: len(corners) // 2]:
            corners[i, 0] += numbers.randint(-JITTER, JITTER)
            corners[i, 1] += numbers.randint(-JITTER, JITTER)
        return corners

    def _below(self, low: int, high: int) -> int:
        """A whole number from ``low`` on, less than ``high``; 0 and nothing drawn where there is
        none."""
        return int(self._numpy.randint(low, high)) if low < high else 0

    def _first_of_permutation(self, count: int) -> int:
        """``torch.randperm(count)[0]``; all the numbers that this takes are gone."""
        if count == 1:
            return 0
        first = int(self._torch.random_raw()) % count
        self._torch.random_raw(count - 2, output=False)
        return first
