"""The one exception keeps what went wrong apart from what to type next."""

from layercli.core.errors import LayercliError, as_word


def test_message_and_hint_are_kept_apart_and_read_as_one():
    error = LayercliError('No layer "fox" in poster.psd.', "Layers: sky, hill.")
    assert (error.message, error.hint) == ('No layer "fox" in poster.psd.', "Layers: sky, hill.")
    assert str(error) == 'No layer "fox" in poster.psd. Layers: sky, hill.'


def test_a_hint_may_be_left_out():
    assert str(LayercliError("The disk is full.")) == "The disk is full."


def test_a_word_of_a_command_is_quoted_where_a_shell_needs_it():
    assert [as_word(name) for name in ("cat.psd", "a cat", "it's")] == ["cat.psd", "'a cat'", "'it'\"'\"'s'"]
