"""One table from what goes wrong between here and the model hub to a sentence and what to type next."""

from __future__ import annotations

import errno

from layercli.core.errors import LayercliError

_AGAIN = "What has come is kept: type the same again to go on."


def failure(error: BaseException, hub: str, revision: str, endpoint: str) -> LayercliError | None:
    """What an exception of huggingface_hub, its network library or the disk means; None for any other one.

    Exceptions are known by their names, so that nothing is imported to ask.
    """
    names = {cls.__name__ for cls in type(error).__mro__}
    status = getattr(getattr(error, "response", None), "status_code", 0)
    page = f"{endpoint}/{hub}"
    if "LayercliError" in names:
        return None
    if "OfflineModeIsEnabled" in names:
        return LayercliError(
            f"{hub} is not fetched, because HF_HUB_OFFLINE is set.",
            "To fetch it, first type: unset HF_HUB_OFFLINE",
        )
    if "GatedRepoError" in names:
        return LayercliError(
            f"The makers of {hub} give it only to people who asked them.",
            f"Ask at {page}, then type: hf auth login",
        )
    if "RevisionNotFoundError" in names:
        return LayercliError(f"{hub} has no revision {revision}.", "Leave --revision out, or look at " + page)
    if "HFValidationError" in names:
        return LayercliError(f'"{hub}" is no name of a repository.', 'Give it as "owner/name".')
    if "RepositoryNotFoundError" in names or status == 401:
        return LayercliError(
            f"There is no repository {hub} at {endpoint}, or it is private.",
            "Look at the spelling; for a private one, first type: hf auth login",
        )
    if "EntryNotFoundError" in names:
        return LayercliError(f"A file of {hub} is gone at {revision}.", f"Look at {page}")
    if status == 403:
        return LayercliError(f"The hub does not let you have {hub}.", f"Look at {page}")
    if status == 429:
        return LayercliError("The hub has been asked too often.", f"Wait a few minutes. {_AGAIN}")
    if status >= 400:
        return LayercliError(f"The hub answers with error {status}.", f"Try later. {_AGAIN}")
    if unusable := _settings_failure(error, names, endpoint):
        return unusable
    if "TransportError" in names or "RequestException" in names:
        return LayercliError(f"The hub at {endpoint} cannot be reached.", f"Look at the network. {_AGAIN}")
    if "LocalEntryNotFoundError" in names or "Consistency check" in str(error):
        return LayercliError(f"The connection to {endpoint} broke while {hub} was fetched.", _AGAIN)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LayercliError(
            f"The disk is full: {hub} was not fetched whole.",
            f"Free some space, or set HF_HOME to a folder on another disk. {_AGAIN}",
        )
    if isinstance(error, OSError) and error.filename:
        return LayercliError(
            f"The cache of models cannot be written: {error.strerror} ({error.filename}).",
            "Set HF_HOME to a folder of your own.",
        )
    return None


def _settings_failure(error: BaseException, names: set[str], endpoint: str) -> LayercliError | None:
    """What an exception means that comes of a person's settings, or of a network that answers itself."""
    if "JSONDecodeError" in names:
        return LayercliError(
            f"What answers at {endpoint} is no model hub.",
            "Perhaps the network wants a log-in in a browser first. If HF_ENDPOINT is set: unset HF_ENDPOINT",
        )
    if "UnicodeEncodeError" in names or "LocalProtocolError" in names:
        return LayercliError(
            "The token of Hugging Face has characters in it that no token has.",
            "Type: hf auth login, or unset HF_TOKEN",
        )
    if isinstance(error, ImportError) and "SOCKS" in str(error):
        return LayercliError(
            "The environment names a SOCKS proxy, for which a package is missing.",
            "Try: pip install socksio, or unset ALL_PROXY",
        )
    if isinstance(error, ValueError) and "proxy" in str(error).lower():
        return LayercliError(
            "The proxy that the environment names has no address that can be used.",
            "Look at: env | grep -i proxy",
        )
    return None
