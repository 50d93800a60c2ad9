"""Guessed bytes are used once, or wasted so far."""

from womm.fileserver.contents.guesses import Guesses


def test_guessed_bytes_are_used_at_the_first_read():
    guesses = Guesses()
    guesses.came((1, 0), 10)
    guesses.came((1, 1), 5)
    assert (guesses.guessed, guesses.used, guesses.wasted) == (15, 0, 15)
    for _ in range(2):
        guesses.read((1, 1))
        guesses.read((2, 1))
    assert (guesses.guessed, guesses.used, guesses.wasted) == (15, 5, 10)
