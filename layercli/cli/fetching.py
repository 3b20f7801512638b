"""Fetching and removing models, with the questions that must be answered first."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path

import typer

from layercli.cli.output import Output
from layercli.core.errors import LayercliError
from layercli.models import hub, hub_cache
from layercli.models.catalog import CATALOG, Entry, fetch_command, folder_of, parts_of, place_of, row
from layercli.models.integrity import check_files
from layercli.models.records import Record, forget_record, read_record, ready_records, write_record
from layercli.vision import nets

_PRECISIONS = {"float16": True, "float32": False}


def pull_model(
    talk: Output, name: str, *, revision: str, precision: str, accepted: bool, again: bool
) -> None:
    """Fetch a row of the catalogue with what it works with, or a net, and answer with where it lies.

    revision: of the row itself.
    """
    if name in nets.NETS:
        place = nets.weights_of(name)
        if place is None:
            hub.refuse_offline(name)
            place = nets.fetch(name)
        _answer(talk, {name: place})
        return
    entry = row(name)
    if not entry.hub:
        raise LayercliError(
            f'"{name}" is part of layercli: there is nothing to fetch.', "Try: layercli doctor"
        )
    if precision not in _PRECISIONS:
        raise LayercliError(
            f'There is no number type called "{precision}" to fetch.',
            f"Use one of: {', '.join(_PRECISIONS)}.",
        )
    half = _PRECISIONS[precision]
    revisions = {**dict.fromkeys(parts_of(name), ""), name: revision}
    due = [one for one in revisions if again and drop_wrong(talk, one, row(one))]
    due += [one for one in revisions if revisions[one] or not half or folder_of(one) is None]
    for one in dict.fromkeys(due):  # all licences are accepted before anything large is fetched
        accept(talk, one, row(one), accepted)
    places: dict[str, Path] = {}
    for one in revisions:
        there = folder_of(one)
        if there is not None and one not in due:
            talk.say(f"{one} is at hand. layercli models verify {one} checks it.")
            places[one] = there
        else:
            places[one] = _pull(talk, one, revisions[one], half=half, again=again)
    _answer(talk, places)


def _pull(talk: Output, name: str, revision: str, *, half: bool, again: bool) -> Path:
    """Fetch a row, and keep a record of it -> where it lies."""
    entry = row(name)
    record = read_record(name, entry.hub)
    asked = revision or entry.commit or (record.commit if record is not None and again else "main")
    ready_records()
    offer = hub.ask(entry.hub, entry.files, asked, half=half)
    refuse_others(entry, offer)
    talk.say(f"Fetching {hub_cache.size_words(offer.bytes)} of {entry.hub} at {offer.commit}…")
    try:
        with talk.progress(name, of_bytes=True) as on_bytes:
            folder = hub.fetch(offer, on_bytes)
    except KeyboardInterrupt:
        talk.say("What has come is kept: type the same again to go on.")
        raise
    write_record(
        Record(
            name=name,
            hub=entry.hub,
            revision=asked,
            commit=offer.commit,
            accepted=entry.licence if entry.restricted else "",
            when=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            files=offer.files,
        )
    )
    talk.say(f"{name} is at hand, under {entry.licence}.")
    return folder


def accept(talk: Output, name: str, entry: Entry, accepted: bool) -> None:
    """Show the licence, and ask where it restricts what may be done; raises LayercliError for a no."""
    page = f"{hub.endpoint()}/{entry.hub}"
    talk.warn(f"The licence of {name} is {entry.licence}. Read it at {page}")
    record = read_record(name, entry.hub)
    if not entry.restricted or accepted or (record is not None and record.accepted == entry.licence):
        return
    flag = f"Read it, then type: {fetch_command(name)} --accept-licence"
    if not agreed("It restricts what the model may be used for. Do you accept it?"):
        raise LayercliError(f"The licence of {name} was not accepted, so nothing was fetched.", flag)


def drop_wrong(talk: Output, name: str, entry: Entry) -> list[str]:
    """Take files out of the cache that are not what they should be, so that they are fetched anew."""
    folder = place_of(name)
    if folder is None or not entry.hub:
        return []
    wrong = [check.path for check in check_files(folder, entry, read_record(name, entry.hub)) if check.bad]
    for path in wrong:
        talk.say(f"{path} is not right.")
    hub_cache.unlink_files(folder, wrong)
    return wrong


def refuse_others(entry: Entry, offer: hub.Offer) -> None:
    """Raise LayercliError where the hub offers a file that is not the one of the table."""
    for file in offer.files:
        if file.path in entry.sha256 and entry.sha256[file.path] != file.sha256:
            raise LayercliError(
                f"{file.path} of {entry.hub} is not the file that layercli knows, so nothing was fetched.",
                f"Ask for another revision, or look at {hub.endpoint()}/{entry.hub}",
            )


def _answer(talk: Output, places: Mapping[str, Path]) -> None:
    """Every place, the row that was asked for first."""
    [(name, place), *parts] = places.items()
    talk.line(*map(str, places.values()))
    with_it = {"with": {part: str(where) for part, where in parts}} if parts else {}
    talk.answer({"name": name, "path": str(place), **with_it})


def remove_model(talk: Output, name: str, *, yes: bool) -> None:
    """Take a row of the catalogue out of the cache; what other rows have of the same repository stays."""
    entry = row(name)
    if not entry.hub:
        raise LayercliError(f'"{name}" is part of layercli and stays.', "Try: layercli models list")
    folder = hub_cache.repository_folder(entry.hub)
    if not folder.is_dir():
        raise LayercliError(f'"{name}" is not on this machine.', "Try: layercli models list")
    sharing = {other: CATALOG[other] for other in CATALOG if other != name and keeps(other, entry)}
    own = {
        place: [
            file
            for file in hub_cache.files_in(place)
            if entry.names(file) and not any(other.names(file) for other in sharing.values())
        ]
        for place in (folder / "snapshots").glob("*")
    }
    single = sorted({file for files in own.values() for file in files})
    if sharing and not single:
        raise LayercliError(
            f'"{name}" has no files of its own: it shares them with {", ".join(sharing)}.',
            f"Try: layercli models remove {next(iter(sharing))}",
        )
    what = f"{', '.join(single)} of {entry.hub}" if sharing else f"all of {entry.hub}"
    if not yes and not agreed(f"Remove {what} from {hub_cache.cache_folder()}?"):
        raise LayercliError(
            f'"{name}" was not removed.', f"To remove it, type: layercli models remove {name} --yes"
        )
    if sharing:
        freed = sum(hub_cache.unlink_files(place, files) for place, files in own.items())
    else:
        freed = hub_cache.remove_repository(entry.hub)
    forget_record(name)
    talk.line(f"{hub_cache.size_words(freed)} freed")
    talk.answer({"name": name, "freed_bytes": freed})


def keeps(other: str, entry: Entry) -> bool:
    """Whether a row that is at hand has files in the repository of another one that must stay without it."""
    row_of_it = CATALOG[other]
    if row_of_it.hub != entry.hub or folder_of(other) is None:
        return False
    apart = not all(entry.names(file) for file in row_of_it.files)
    return apart or read_record(other, entry.hub) is not None


def agreed(question: str) -> bool:
    """Ask on stderr for a yes or a no; where nobody is there to answer, it is a no."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as abort:
        if isinstance(abort.__context__, EOFError):
            typer.echo(err=True)
            return False
        raise
