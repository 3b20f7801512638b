"""Answers go to stdout, talk to stderr, and each mode keeps back what it should."""

from __future__ import annotations

import json
import warnings

import pytest

from layercli.cli.output import Output
from layercli.core.errors import LayercliError, Note


@pytest.mark.parametrize(
    ("output", "said", "warned"),
    [(Output(), True, True), (Output(json=True), False, True), (Output(quiet=True), False, False)],
)
def test_talk_goes_to_stderr_or_nowhere(capsys, output: Output, said: bool, warned: bool):
    output.say("hello")
    output.warn("beware")
    told = capsys.readouterr()
    assert told.out == ""
    assert ("hello" in told.err, "beware" in told.err) == (said, warned)


def test_a_failure_is_always_told(capsys):
    Output(quiet=True, json=True).fail(LayercliError("No fox.", "Layers: hill."))
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "Error: No fox.\nLayers: hill.\n")


def test_an_answer_is_lines_or_one_json_object(capsys):
    for output in (Output(), Output(json=True)):
        output.line("one", "two")
        assert capsys.readouterr().out == ("" if output.json else "one\ntwo\n")
    Output().answer({"name": "größe"})
    assert capsys.readouterr().out == ""
    Output(json=True).answer({"name": "größe"})
    told = capsys.readouterr().out
    assert json.loads(told) == {"name": "größe"}
    assert "größe" in told


def test_a_table_is_not_folded_in_a_pipe_and_takes_no_markup(capsys):
    Output().table({}, ("name", "what"), [["[red]fox[/red]", "x" * 300]])
    told = capsys.readouterr().out
    assert "[red]fox[/red]" in told
    assert "x" * 300 in told
    assert all(line == line.rstrip() for line in told.splitlines())


def test_progress_draws_nothing_where_nobody_looks(capsys):
    with Output().progress("cat") as on_step:
        on_step(1, 2)
        on_step(2, 2)
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "")


def test_notes_are_told_and_other_warnings_stay_what_they_are(capsys):
    with pytest.warns(RuntimeWarning, match="odd"), Output(json=True).noting():
        warnings.warn("mind this.", Note, stacklevel=1)
        warnings.warn("mind this.", Note, stacklevel=1)
        warnings.warn("odd", RuntimeWarning, stacklevel=1)
    assert capsys.readouterr().err == "Note: mind this.\n" * 2
    usual = warnings.showwarning
    with Output(quiet=True).noting():
        warnings.warn("mind this.", Note, stacklevel=1)
    assert (capsys.readouterr().err, warnings.showwarning) == ("", usual)
