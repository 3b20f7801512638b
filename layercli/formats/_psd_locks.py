"""What a PSD file locks of its layers, by themselves or by the groups around them.

Source: Adobe Photoshop File Formats Specification, November 2019, "Protected setting".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layercli.formats._psd_raw import Record
from layercli.formats._psd_view import Folder, Part

_BLOCK = b"lspf"
_BITS = {"transparency": 1, "pixels": 2, "position": 4}
_ALL = 1 << 31
_TRANSPARENCY_FLAG = 1


def locks_of(
    parts: Sequence[Part], folders: Mapping[tuple[str, ...], Folder], records: Sequence[Record]
) -> dict[str, frozenset[str]]:
    """What is locked of each layer that has a lock: "transparency", "pixels", "position", or "all"."""
    found = {}
    for part in parts:
        group = part.layer.group
        around = [folders[group[: depth + 1]].record for depth in range(len(group))]
        each = [_locked(records[number]) for number in (part.record, *around)]
        locked = frozenset[str]().union(*each)
        if locked:
            whole = "all" in locked or locked == set(_BITS)
            found[part.layer.name] = frozenset({"all"}) if whole else locked
    return found


def _locked(record: Record) -> frozenset[str]:
    bits = int.from_bytes((record.block(_BLOCK) or b"")[:4], "big")
    if bits & _ALL:
        return frozenset({"all"})
    if record.looks[2] & _TRANSPARENCY_FLAG:
        bits |= _BITS["transparency"]
    return frozenset(name for name, bit in _BITS.items() if bits & bit)
