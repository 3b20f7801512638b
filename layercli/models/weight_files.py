"""Single weight files: safetensors only, every tensor used and none left out, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from layercli.core.errors import LayercliError

FETCH_AGAIN = "Fetch the file again, or name another one."


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file by name; raises LayercliError for any other file, and for none."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise LayercliError(f"There is no file {path}.", "Name a .safetensors file.")
    if path.suffix != ".safetensors":
        raise LayercliError(
            f"{path} is no safetensors file; others can run code when they are read.",
            "Name a .safetensors file.",
        )
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise LayercliError(f"The file {path} is damaged: {error}.", FETCH_AGAIN) from error


def check_names(found: Mapping[str, object], wanted: Mapping[str, object], path: Path, what: str) -> None:
    """Raise LayercliError that names the first key which is missing, or which is one too many.

    what: the thing the file should hold, in words.
    """
    missing = [name for name in wanted if name not in found]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise LayercliError(f"{path} is no {what}: it has no {missing[0]}{more}.", FETCH_AGAIN)
    extra = [name for name in found if name not in wanted]
    if extra:
        more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
        raise LayercliError(f"{path} is no {what}: nothing in it is called {extra[0]}{more}.", FETCH_AGAIN)


def fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Put a file's tensors into a network (which may be on the meta device), all of them, float32.

    Raises LayercliError for a key that is missing or one too many, and for a tensor of another shape.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    check_names(tensors, wanted, path, what)
    for name, tensor in tensors.items():
        twin = name.replace(".up.", ".down.") if ".up." in name else name.replace(".down.", ".up.")
        check_shape(name, tensor, wanted[name], path, what, twin=wanted.get(twin, ()))
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)


def check_shape(
    name: str,
    tensor: Tensor,
    shape: tuple[int, ...],
    path: Path,
    what: str,
    *,
    twin: tuple[int, ...] = (),
) -> None:
    """Raise LayercliError for a tensor that does not fit its place.

    twin: the shape of the other half of a low-rank pair, by which the two are seen to be swapped.
    """
    if tuple(tensor.shape) == shape:
        return
    shown = "x".join(map(str, tensor.shape)) or "a number"
    wanted = "x".join(map(str, shape))
    swapped = "; up and down are swapped" if tuple(tensor.shape) == twin else ""
    raise LayercliError(
        f"{path} is no {what} for this model: {name} is {shown}, not {wanted}{swapped}.", FETCH_AGAIN
    )
