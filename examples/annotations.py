"""Reference masks that we drew on the real pictures.

The points were set by eye on enlarged pictures, drawn over them and corrected until the line sat
on the visible edge. They are one observer's outlines: no radiologist or pathologist saw them.
Coordinates are (x, y) in pixels of the picture as `pictures.py` returns it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from outline import drawn, ellipse, paint

Labels = NDArray[np.uint8]

VERTEBRAL_BODY = [
    (59, 5.0), (53, 6.5), (49, 9.5), (45, 16), (42.5, 23), (41, 31), (40.5, 38), (41, 44),
    (43, 47), (46, 46.5), (49, 43.5), (52.5, 41), (56, 39.7), (60, 39.8), (64, 41), (68, 43.8),
    (71, 46.5), (74, 48), (76.7, 46), (77.8, 42), (78.3, 36), (77.2, 29), (75, 22), (72, 15),
    (68, 9.5), (64, 6.5),
]  # fmt: skip
"""Outer edge of the cortex, closed at the back where the pedicles begin."""
SPINAL_CANAL = [
    (46.8, 50), (48, 47), (51, 44.2), (55, 42), (60, 41.7), (64, 43.2), (67, 45.8), (69.2, 49),
    (69.8, 53), (68.6, 56.5), (66, 59), (62, 60.6), (58, 61), (54, 59.7), (50, 57), (47.6, 54),
]  # fmt: skip
AORTA_CT = [
    (72.5, -8), (72, -3), (72.2, 4), (73.4, 10), (75.8, 15), (78.6, 19.2), (82.4, 22), (87, 23.2),
    (92, 23), (97, 21.5), (102, 18.2), (106, 13.5), (108.3, 8), (109, 3), (109, -3), (109, -8),
]  # fmt: skip
"""The aorta leaves the picture at the top edge."""

RIGHT_KIDNEY = [
    (168.2, 188), (174.5, 190.1), (179.5, 193.2), (182.6, 197), (184.1, 202.6), (183, 209.5),
    (181.8, 217), (179.5, 224.5), (175.1, 232), (169.5, 238.9), (162, 243.9), (153.2, 247.6),
    (145.8, 249.1), (137, 249.1), (130.8, 247.6), (127, 243.2), (123.2, 237.6), (119.5, 232),
    (117.2, 227.6), (117, 224.5), (118.9, 219.5), (122, 213.9), (126.4, 207.6), (131.4, 201.4),
    (136.4, 196.4), (142.6, 192.6), (150.8, 190.5), (159.5, 190.5), (162.6, 188.9),
]  # fmt: skip
LEFT_KIDNEY = [
    (288.9, 213.2), (290.8, 209.5), (295.8, 205.8), (299.5, 202), (305.1, 199.2), (310.8, 197.6),
    (317, 197.2), (322.6, 198.9), (327, 202), (332, 206.4), (337, 209.5), (341.4, 214.5),
    (343.5, 220.8), (344.4, 227), (344.8, 234.5), (343.2, 239.5), (339.5, 244.5), (334.5, 248.2),
    (330.1, 251.4), (324.5, 250.5), (317, 248.2), (310.8, 245.1), (304.5, 240.1), (298.2, 233.9),
    (294.5, 228.2), (291.4, 222), (289.5, 217),
]  # fmt: skip
"""Sinus fat belongs to both kidneys; the blurred lateral edge is cut at half brightness."""
AORTA_MR = ((254.8, 168.4), (12.9, 13.4))

OPTIC_DISC = [
    (98, 195), (100.5, 201.5), (102, 209.5), (102.5, 217.5), (101, 225.5), (98.5, 232.5),
    (94, 238.5), (88.5, 244.5), (81.5, 248.5), (73.5, 249), (66.5, 247), (59.5, 243.5),
    (52.5, 238.5), (46.5, 233.5), (43, 227.5), (40.5, 219.5), (39.5, 212.5), (40, 206.5),
    (42.5, 201.5), (47, 198), (54.5, 194.5), (64.5, 191), (73.5, 188.5), (82, 187.5), (88, 188.5),
    (93.5, 191),
]  # fmt: skip

BRAIN_LEVEL = 85
"""Grey value between the noise outside the head and the darkest cortex; set by eye."""

CELL = ((427.8, 374.0), (64.5, 63.8))

GLAND_CUT = [
    (49.5, -10.5), (49.5, -0.5), (54.5, 19.5), (62.8, 42.8), (71.2, 66.2), (79.5, 96.2),
    (84.5, 122.8), (86.8, 142.8), (89.5, 156.2), (94.5, 169.5), (99.5, 186.2), (106.2, 206.2),
    (116.2, 221.2), (127.8, 236.2), (142.8, 252.8), (156.2, 266.2), (166.2, 276.8), (179.5, 280.2),
    (196.2, 283.5), (209.5, 289.5), (217.8, 296.8), (231.2, 294.5), (239.5, 279.5), (240.2, 266.2),
    (246.2, 252.8), (252.8, 239.5), (250.2, 226.2), (251.2, 212.8), (259.5, 202.8), (266.2, 186.2),
    (268.8, 166.2), (268.8, 142.8), (266.2, 119.5), (262.8, 96.2), (256.2, 72.8), (249.5, 49.5),
    (241.2, 19.5), (236.2, -0.5), (234.5, -10.5),
]  # fmt: skip
"""The gland and its lumen leave the picture at the top edge."""
GLAND_WHOLE = [
    (95, 302), (102.5, 308.2), (115, 317), (132.5, 320.8), (137.5, 330.8), (147.5, 331.5),
    (153.8, 340.8), (167.5, 345.8), (176.2, 350.8), (178.8, 362), (183.8, 372), (187.5, 384.5),
    (186.2, 399.5), (189.2, 414.5), (190, 427), (187.5, 439.5), (185, 454.5), (182, 469.5),
    (181.2, 479.5), (177.5, 487), (173.8, 499.5), (165, 505.8), (150, 508.2), (137.5, 503.2),
    (127.5, 500.8), (112.5, 497), (106.2, 479.5), (97.5, 465.8), (87.5, 452), (81.2, 442),
    (72.5, 429.5), (67, 418.2), (63.8, 407), (62.5, 394.5), (60.5, 382), (60, 369.5), (61.2, 354.5),
    (62.5, 342), (70, 333.2), (80, 329.5), (83.8, 318.2), (90, 309.5),
]  # fmt: skip


def spine_ct(picture: NDArray[np.uint8]) -> Labels:
    """1 vertebral body, 2 spinal canal, 3 aorta."""
    shape = picture.shape[:2]
    return paint([drawn(points, shape) for points in (VERTEBRAL_BODY, SPINAL_CANAL, AORTA_CT)])


def abdomen_mr(picture: NDArray[np.uint8]) -> Labels:
    """1 right kidney, 2 left kidney, 3 aorta."""
    shape = picture.shape[:2]
    kidneys = [drawn(points, shape) for points in (RIGHT_KIDNEY, LEFT_KIDNEY)]
    return paint([*kidneys, ellipse(*AORTA_MR, shape)])


def retina(picture: NDArray[np.uint8]) -> Labels:
    """1 optic disc, vessels on it included."""
    return paint([drawn(OPTIC_DISC, picture.shape[:2])])


def cell(picture: NDArray[np.uint8]) -> Labels:
    """1 the floating cell."""
    return paint([ellipse(*CELL, picture.shape[:2])])


def glands(picture: NDArray[np.uint8]) -> Labels:
    """1 gland cut by the upper edge, its lumen included; 2 gland cut across."""
    shape = picture.shape[:2]
    return paint([drawn(GLAND_CUT, shape), drawn(GLAND_WHOLE, shape)])


def brain(volume: NDArray[np.uint8]) -> Labels:
    """1 brain with its ventricles, on every slice of the (D, H, W) volume.

    A rule, looked at slice by slice: level, closed, filled and opened in the plane, largest piece.
    The closing bridges the dark sulci and vessels, the opening drops the ghost beside the head.
    """
    disk = ellipse((3, 3), (3.2, 3.2), (7, 7))
    slices = []
    for level in np.pad(volume >= BRAIN_LEVEL, ((0, 0), (4, 4), (4, 4))):
        closed = ndimage.binary_fill_holes(ndimage.binary_closing(level, disk))
        slices.append(ndimage.binary_opening(closed, disk)[4:-4, 4:-4])
    pieces, count = ndimage.label(np.stack(slices))
    sizes = ndimage.sum_labels(pieces > 0, pieces, np.arange(1, count + 1))
    return np.asarray(pieces == 1 + int(np.argmax(sizes)), dtype=np.uint8)
