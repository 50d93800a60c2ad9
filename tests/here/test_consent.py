"""The user's word on what lies in homes."""

from womm.here import consent
from womm.here.programs import Root

ROOTS = (
    Root("/home/me/.pyenv/versions/3.12.1", "python", "in PATH", private=True),
    Root("/home/me/bin", "programs", "in PATH", private=True),
    Root("/usr", "system", "the system's programs"),
)


def test_undecided_are_those_without_a_word():
    assert consent.undecided(ROOTS, ()) == list(ROOTS[:2])
    assert consent.undecided(ROOTS, ("/home/me/.pyenv",)) == [ROOTS[1]]
    assert consent.undecided(ROOTS, ("!/home/me/bin", "/home/me/.pyenv/versions/3.12.1")) == []


def test_undecided_a_yes_is_not_followed_where_a_link_leads_now(tmp_path):
    link, folder = tmp_path / "link", tmp_path / "private"
    folder.mkdir()
    link.symlink_to(folder)
    root = Root(str(folder), "programs", "in PATH", private=True)
    assert consent.undecided([root], [str(link)]) == [root]
    assert consent.relevant([root], [str(link)]) == []
    assert consent.undecided([root], [f"!{link}"]) == []  # a no holds wherever it leads


def test_relevant_are_the_allowed_of_this_project():
    given = ("/home/me/.pyenv", "/home/me/other", "!/home/me/bin")
    assert consent.relevant(ROOTS, given) == ["/home/me/.pyenv"]


def test_missing_names_the_first_and_lists_all():
    error = consent.missing(ROOTS[:2])
    assert "/home/me/.pyenv/versions/3.12.1 (python: in PATH) and 1 more folder, and you" in error.message
    assert error.hint == "--here-roots /home/me/.pyenv/versions/3.12.1:/home/me/bin, or --here-roots none"
    assert error.status == 2
