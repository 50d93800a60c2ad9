"""Which variables of a visit are kept, and why others are not."""

import pytest

from womm.testbed.variables import exported

BEFORE = {"PATH": "/usr/bin", "HOME": "/root", "LANG": "C.UTF-8", "SAVED": "before", "TERM": "xterm"}


@pytest.mark.parametrize(
    "change",
    [
        {"PWD": "/x", "OLDPWD": "/", "SHLVL": "1", "_": "/bin/cat"},
        {"HOME": "/elsewhere", "HOSTNAME": "abc", "TERM": "dumb", "COLORTERM": "", "LINES": "5"},
        {"LS_COLORS": "a", "PS1": "$ ", "PROMPT_COMMAND": "x", "HISTFILE": "/h", "HISTCONTROL": "x"},
        {"LESSOPEN": "|lesspipe %s", "WOMM_KUBE_CPU": "2", "BASH_FUNC_which%%": "() { :; }"},
    ],
)
def test_variables_that_nobody_chose_stay_out_without_a_word(change):
    found = exported(BEFORE, BEFORE | change)
    assert (found.kept, found.left_out) == ({}, {})


def test_variables_that_are_new_or_different_are_kept_exactly():
    change = {
        "MODE": "fast",
        "PATH": "/opt/bin:/usr/bin",
        "TEXT": " a\nb\t'c' ",
        "EMPTY": "",
        "LANG": "de_DE.UTF-8",
    }
    found = exported(BEFORE, BEFORE | change)
    assert (found.kept, found.left_out) == (change, {})


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("BYTES", "\udcff", "UTF-8"),
        ("BASH_FUNC_build%%", "() {  make\n}", "function"),
        ("a.b", "x", "name"),
        ("API_TOKEN", "tr0ub4dor-and-3", "secret"),
        ("KEY_OF_CI", "ghp_0123456789abcdefghijklmnopqrstuvwxyz", "secret"),
    ],
)
def test_variable_that_cannot_be_kept_is_named_with_the_reason_and_without_its_value(name, value, why):
    found = exported(BEFORE, BEFORE | {name: value})
    assert found.kept == {}
    assert found.left_out.keys() == {name}
    assert why in found.left_out[name]
    assert value not in found.left_out[name]


def test_variable_that_was_unset_is_named_since_an_image_keeps_it():
    after = {name: value for name, value in BEFORE.items() if name != "SAVED"}
    assert "export SAVED=" in exported(BEFORE, after).left_out["SAVED"]
