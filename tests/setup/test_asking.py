"""Questions in a terminal, as a user sees and answers them."""

import os

import pytest

from tests.setup.terminals import asking, status_of
from womm.errors import UsageError
from womm.setup.asking import Asker

CHOOSE = """
print("took", asker.choose("Which one?", {"a": "the first", "b": "the second"}, %r, option="--one"))
"""
TEXT = """
from womm.values import prefix
print("took", repr(asker.text("Where?", %r, option="--where", example="e.g. 'r.org/me/'", check=prefix,
    blank=%r)))
"""
CONFIRM = 'print("took", asker.confirm("Does it work?", True))'


def test_choice_is_a_number_and_the_default_is_in_brackets():
    with asking(CHOOSE % "b") as child:
        child.expect_exact("Which one?\r\n1) the first\r\n2) the second\r\n*) never mind, quit\r\n[2] > ")
        child.sendline("3")
        child.expect_exact("Type a number from 1 to 2, or * to quit.")
        child.expect_exact("[2] > ")
        child.sendline(" 1 ")
        child.expect_exact("took a")
        assert status_of(child) == 0


@pytest.mark.parametrize(("typed", "taken"), [("", "b"), ("b", "b"), ("a", "a")])
def test_choice_by_default_and_by_its_word(typed, taken):
    with asking(CHOOSE % "b") as child:
        child.expect_exact("[2] > ")
        child.sendline(typed)
        child.expect_exact(f"took {taken}")


@pytest.mark.parametrize("typed", ["", "*"])
def test_choice_without_a_default_quits_as_the_star_does(typed):
    with asking(CHOOSE % "") as child:
        child.expect_exact("[*] > ")
        child.sendline(typed)
        child.expect_exact("never mind: nothing has been changed")
        assert status_of(child) == 130


def test_text_is_asked_again_until_it_is_one():
    with asking(TEXT % ("", False)) as child:
        child.expect_exact("Where?\r\ne.g. 'r.org/me/'\r\n> ")
        child.sendline("")
        child.expect_exact("Where?")
        child.sendline("A B")
        child.expect_exact("It must be the beginning of an image's name such as registry.example.org/team/.")
        child.expect_exact("> ")
        child.sendline("\x1b[D")
        child.expect_exact("It must be the beginning")
        child.expect_exact("> ")
        child.sendline("docker.io/rhelmot/")
        child.expect_exact("took 'docker.io/rhelmot/'")


@pytest.mark.parametrize(("default", "typed", "taken"), [("", "", ""), ("key", "", "key"), ("key", "-", "")])
def test_text_that_may_be_blank(default, typed, taken):
    with asking(TEXT % (default, True)) as child:
        child.expect_exact(f"[{default}] > " if default else "> ")
        child.sendline(typed)
        child.expect_exact(f"took {taken!r}")


def test_yes_or_no_and_nothing_else():
    with asking(CONFIRM) as child:
        child.expect_exact("Does it work? y/n\r\n[y] > ")
        child.sendline("perhaps")
        child.expect_exact("Type y or n.")
        child.expect_exact("[y] > ")
        child.sendline("N")
        child.expect_exact("took False")


def test_ctrl_c_at_a_question_ends_it():
    with asking(CONFIRM) as child:
        child.expect_exact("[y] > ")
        child.sendintr()
        assert status_of(child) == 130
        assert "stdin has ended" not in child.before


def test_end_of_stdin_at_a_question_ends_it_with_a_word():
    with asking(CONFIRM) as child:
        child.expect_exact("[y] > ")
        child.sendeof()
        child.expect_exact("womm: stdin has ended, and womm needs an answer")
        assert status_of(child) == 130


def test_bytes_that_are_no_text_are_asked_for_again():
    with asking(CONFIRM, PYTHONIOENCODING="utf-8:strict") as child:
        child.expect_exact("[y] > ")
        child.setecho(False)
        os.write(child.child_fd, b"\xff\n")
        child.expect_exact("That is not text in this terminal's encoding.")
        child.expect_exact("[y] > ")
        child.sendline("y")
        child.expect_exact("took True")


def test_asker_that_must_not_ask_names_the_option():
    asker = Asker(asks=False)
    with pytest.raises(UsageError, match="--base is missing"):
        asker.text("Which?", option="--base")
    with pytest.raises(UsageError, match="--share is missing"):
        asker.choose("Which?", {"a": "b"}, "a", option="--share")
    assert asker.confirm("Sure?", True)
    assert not asker.confirm("Sure?", False)
