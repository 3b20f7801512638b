"""Hide one layer and write the rest in another format: python examples/convert.py in.psd cat out.ora"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from layercli.formats import ora, psd


def main(source: Path, name: str, target: Path) -> None:
    stack = psd.read(source)
    hidden = dataclasses.replace(stack.layer(name), visible=False)
    ora.write(stack.replace(name, hidden), target, ora.Options())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
