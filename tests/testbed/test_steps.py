"""What a typed command was, and how it runs when nobody answers."""

from pathlib import Path

import pytest

from womm.testbed.steps import Sort, sort, unattended


@pytest.mark.parametrize(
    "text",
    [
        "ls -l",
        "cd /opt && ls",
        "cat /etc/os-release | grep ID",
        "exit",
        "pwd; history",
        "echo hello",
        "echo hello 2>&1 >/dev/null",
        "which jq || echo no",
        "jq --version",
        "sudo less /etc/passwd",
        "apt list --installed",
        "dpkg -l",
        "rpm -qa",
        "pip list",
        "find / -name 'a*'",
        "sed -n 1,3p /etc/passwd",
        "env",
        "# a note",
        "",
    ],
)
def test_command_that_only_looks_is_a_look(text):
    assert sort(text, "/", None) is Sort.LOOK


@pytest.mark.parametrize(
    "text",
    [
        "apt-get install jq",
        "apt-get update && apt-get install -y jq",
        "echo hello > /etc/motd",
        "cat >> /etc/hosts",
        "find /tmp -name a -delete",
        "sed -i s/a/b/ /etc/passwd",
        "sort -o /etc/words /etc/words",
        "echo $(make-something)",
        "cd /opt && tar xf a.tar",
        "env A=1 installer",
        "A=1 installer",
        "pip install list",
        "cat > /etc/a <<EOF\nit's here\nEOF",
        "mkdir /data",
        "ln -s a b",
        "rpm -i a.rpm",
    ],
)
def test_command_that_may_change_something_is_a_step(text):
    assert sort(text, "/", None) is Sort.STEP


@pytest.mark.parametrize(
    "text", ["export MODE=fast", "A=1", ". /opt/env.sh", "source /opt/env.sh && env", "unset A"]
)
def test_command_that_changes_variables_only_is_an_export(text):
    assert sort(text, "/", None) is Sort.EXPORT


@pytest.mark.parametrize(
    "text", ["vi /etc/motd", "nano /etc/motd", "python3", "bash", "sudo su", "crontab -e"]
)
def test_command_that_waits_for_keys_is_by_hand(text):
    assert sort(text, "/", None) is Sort.BY_HAND


@pytest.mark.parametrize(
    "text",
    [
        "./configure",
        "bash setup.sh",
        "pip install -r needs.txt",
        "pip install .",
        "cp needs.txt /opt",
        "cp *.txt /opt",
        "tool --config=needs.txt",
        "make install",
        "git clone https://git.example.org/a",
        "sub/program",
        "cp /mnt/etc/motd /etc",
    ],
)
def test_command_that_uses_the_folder_is_not_for_a_build(text, tmp_path):
    (tmp_path / "needs.txt").touch()
    (tmp_path / "setup.sh").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "program").touch()
    assert sort(text, str(tmp_path), tmp_path) is Sort.HOST


def test_command_that_goes_elsewhere_first_is_a_step(tmp_path):
    (tmp_path / "a").touch()
    assert sort("cd /opt/source && make a", str(tmp_path), tmp_path) is Sort.STEP
    assert sort("cd sub; cd ..; install a", str(tmp_path), tmp_path) is Sort.HOST


def test_command_that_names_the_folder_is_not_for_a_build():
    folder = Path("/home/me/project")
    assert sort("cp /home/me/project/a /opt", "/", folder) is Sort.HOST
    assert sort("cp /home/me/project2/a /opt", "/", folder) is Sort.STEP


@pytest.mark.parametrize("text", ["apt-get install jq", "npm install -g x", "mkdir -p /data"])
def test_command_in_the_folder_that_does_not_use_it_is_a_step(text, tmp_path):
    (tmp_path / "apt-get").touch()  # a program comes from PATH
    assert sort(text, str(tmp_path), tmp_path) is Sort.STEP


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("apt-get install jq", "apt-get install -y jq"),
        ("apt-get update && apt install jq", "apt-get update && apt install -y jq"),
        (
            "sudo apt-get --no-install-recommends install jq | cat",
            "sudo apt-get --no-install-recommends install -y jq | cat",
        ),
        ("apt-get -y install jq", "apt-get -y install jq"),
        ("apt-get install jq -y", "apt-get install jq -y"),
        ("apt-get install -qq jq", "apt-get install -qq jq"),
        ("dnf install jq", "dnf install -y jq"),
        ("dnf install --assumeyes jq", "dnf install --assumeyes jq"),
        ("pacman -Sy jq", "pacman -Sy --noconfirm jq"),
        ("pip uninstall x", "pip uninstall -y x"),
        ("pip install x", "pip install x"),
        ("apt-get update", "apt-get update"),
        ("echo apt-get installed", "echo apt-get installed"),
        ("apt-get upgrade", "apt-get upgrade -y"),
    ],
)
def test_package_manager_gets_its_answer(text, expected):
    assert unattended(text) == expected
