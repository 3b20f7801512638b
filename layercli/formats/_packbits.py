"""PackBits, the run-length code of PSD files, at the speed of the memory where there are no runs to find."""

from __future__ import annotations

import numpy as np
from psd_tools.compression import rle_impl

#: Rows that are packed in one way; every sixteenth of them is looked at.
_BAND = 64
_LOOK = 16
#: Below this share of bytes in runs, packing saves less than it costs: it takes 20 times as long.
_WORTH = 0.03
_LITERAL = 128


def pack(plane: np.ndarray) -> tuple[np.ndarray, list[bytes | memoryview]]:
    """Pack the rows of a plane (h, w) of bytes, each on its own.

    Returns the packed lengths of the rows (h,) and the packed bytes, whose pieces make up the rows in order.
    Bands of noise, as photographs have, are stored as literals by numpy; all else goes through the C codec of
    psd-tools. Both are PackBits as TIFF 6.0, section 9, defines it.
    """
    if plane.strides[1] != 1:
        plane = np.ascontiguousarray(plane)  # the codec reads rows as they lie in memory
    height = len(plane)
    lengths = np.empty(height, dtype=np.int64)
    if (plane[::_LOOK] == plane[0, 0]).all() and (plane == plane[0, 0]).all():  # every background's alpha
        row = rle_impl.encode(plane[0])
        lengths[:] = len(row)
        return lengths, [row] * height
    pieces: list[bytes | memoryview] = []
    for top in range(0, height, _BAND):
        band = plane[top : top + _BAND]
        if _share_in_runs(band[::_LOOK]) < _WORTH:
            packed = _literals(band)
            lengths[top : top + len(band)] = packed.shape[1]
            pieces.append(packed.data)
        else:
            rows = [rle_impl.encode(row) for row in band]
            lengths[top : top + len(band)] = list(map(len, rows))
            pieces.extend(rows)
    return lengths, pieces


def _share_in_runs(rows: np.ndarray) -> float:
    """The share of bytes that are the fourth or a later one of a run: about what packing saves."""
    same = rows[:, 1:] == rows[:, :-1]
    return np.count_nonzero(same[:, 2:] & same[:, 1:-1] & same[:, :-2]) / rows.size


def _literals(rows: np.ndarray) -> np.ndarray:
    """Rows (n, w) as literal packets of up to 128 bytes, each after its length less one -> (n, packed)."""
    count, width = rows.shape
    whole = width // _LITERAL
    rest = width - whole * _LITERAL
    packed = np.empty((count, width + whole + (rest > 0)), dtype=rows.dtype)
    packets = packed[:, : whole * (_LITERAL + 1)].reshape(count, whole, _LITERAL + 1)
    packets[:, :, 0] = _LITERAL - 1
    packets[:, :, 1:] = rows[:, : whole * _LITERAL].reshape(count, whole, _LITERAL)
    if rest:
        packed[:, -rest - 1] = rest - 1
        packed[:, -rest:] = rows[:, -rest:]
    return packed
