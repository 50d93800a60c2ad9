"""Lines of a Dockerfile. tests/testbed/test_recipe.py has docker build some."""

import json

import pytest

from womm.testbed import dockerfile


@pytest.mark.parametrize(
    "command", ["apt-get install -y jq", "echo 'a  \"b\" $c' > /d", "a \\ b", "echo '#' # note"]
)
def test_plain_command_stands_as_it_is(command):
    assert dockerfile.run(command) == f"RUN {command}"


@pytest.mark.parametrize(
    "command", ['cat > /a <<EOF\n$b "c" \\\n# d\nEOF', "echo a\\", "[ -e /a ]", "cat <<< a", "echo ü\n"]
)
def test_command_that_the_builder_would_change_is_a_list(command):
    line = dockerfile.run(command)
    assert "\n" not in line
    assert json.loads(line.removeprefix("RUN ")) == ["/bin/sh", "-c", command]


@pytest.mark.parametrize(
    "command", ["[[ -e /a ]] && b", "echo {a,b}", "source /a", "a &> /b", "cat <(b)", "x=(1 2)"]
)
def test_bash_runs_what_only_a_bash_can(command):
    assert json.loads(dockerfile.run(command, bash=True).removeprefix("RUN "))[0] == "/bin/bash"


@pytest.mark.parametrize("command", ["echo ${a}", "echo '{}'", "find / -exec b {} +", "a > /b 2>&1"])
def test_sh_runs_what_a_sh_can(command):
    assert dockerfile.run(command, bash=True) == f"RUN {command}"


def test_variable_is_quoted():
    assert dockerfile.env("A", "b \"c\" $d \\ 'e'") == 'ENV A="b \\"c\\" \\$d \\\\ \'e\'"'
    assert dockerfile.env("EMPTY", "") == 'ENV EMPTY=""'


@pytest.mark.parametrize(("name", "value"), [("A", "a\nb"), ("A", "a\rb"), ("A B", "c"), ("", "a")])
def test_variable_that_no_line_can_hold_is_none(name, value):
    assert dockerfile.env(name, value) is None


def test_comment_has_its_mark_on_each_line():
    assert dockerfile.comment("a\n\nb \x1b[2J") == "# a\n#\n# b \\x1b[2J"
