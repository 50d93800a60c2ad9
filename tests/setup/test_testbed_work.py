"""The work in a testbed: what is asked, what goes back in, and secrets, which are named and never shown."""

import os
import string
from dataclasses import replace

import pytest

from tests.image.bases import Bases
from tests.setup.projects import Project, answer
from womm.testbed.state import State

pytestmark = pytest.mark.slow

TOOL = "#!/bin/sh\necho from the tool: $MODE\n"
KEY = "PRIVATE" + " KEY"  # for programs that look for keys in sources


def test_visit_goes_back_in_until_it_works_and_saves_what_was_exported(project: Project) -> None:
    (project.folder / "tool").write_text(TOOL)
    with project.dialogue() as child:
        child.sendline("touch made-by-root")
        child.expect_exact("testbed:")
        child.sendline("exit")
        answer(child, "Does it work? y/n", "n")
        child.expect_exact("testbed:")
        child.sendline("install -m 755 tool /usr/local/bin/tool; export MODE=fast")
        child.expect_exact("testbed:")
        child.sendline("exit")
        answer(child, "Does it work? y/n", "")
        child.expect_exact("womm: saved variable: MODE=fast")
        child.expect_exact("womm doctor")
        child.wait()
    assert project.run_in_image("tool") == b"from the tool: fast\n"
    assert (project.folder / "made-by-root").exists()


def test_lacking_perl_is_told_with_the_command_that_installs_it(project: Project, bases: Bases) -> None:
    lean = replace(project, base=bases.debian_without_perl())
    result = lean.setup()
    assert result.status == 254
    assert "womm: workers need perl, and the image does not have it\n" in result.err
    hint = "the same command with --run 'apt-get update && apt-get install -y perl-base'"
    assert f"womm: hint: {hint}\n" in result.err
    assert not (project.folder / ".womm").exists()


def letters(number: int) -> str:
    characters = string.ascii_letters + string.digits
    return "".join(characters[byte % len(characters)] for byte in os.urandom(number))


def test_planted_secrets_are_named_and_their_values_are_nowhere(
    project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    random = [letters(40) for _ in range(20)]
    lines = {
        "/root/.netrc": f"machine example.org login me password {random[0]}\n",
        "/root/.docker/config.json": f'{{"auths": {{"example.org": {{"auth": "{random[1]}"}}}}}}\n',
        "/root/.aws/credentials": f"[default]\naws_secret_access_key = {random[2]}\n",
        "/root/.ssh/id_ed25519": f"-----BEGIN OPENSSH {KEY}-----\n{random[3]}\n-----END OPENSSH {KEY}-----\n",
        "/root/.git-credentials": f"https://me:{random[4]}@example.org\n",
        "/root/.pypirc": f"[pypi]\npassword = {random[5]}\n",
        "/root/.npmrc": f"//registry.example.org/:_authToken={random[6]}\n",
        "/root/.kube/config": f"users:\n- user:\n    token: {random[7]}\n",
        "/root/.pgpass": f"db:5432:db:me:{random[8]}\n",
        "/root/.vault-token": f"{random[9]}\n",
        "/opt/app/.env": f"API_KEY={random[10]}\n",
        "/opt/app/settings.py": f'password = "{random[11]}"\n',
        "/opt/app/github.txt": f"ghp_{random[12][:36]}\n",
        "/etc/app.conf": f"secret_key = {random[13]}\n",
        "/etc/shadow": f"me:$6${random[14]}:1:2:3:4:5:6:7\n",
        "/opt/app/.htpasswd": f"me:{random[15]}\n",
        "/root/.config/gh/hosts.yml": f"github.com:\n  oauth_token: {random[16]}\n",
        "/opt/app/.bash_history": f"login {random[17]}\n",
    }
    plant = project.folder / "plant"
    plant.write_text(
        "set -e\n"
        + "".join(
            f"mkdir -p {os.path.dirname(path)}\ncat >{path} <<'EOF'\n{text}EOF\n"
            for path, text in lines.items()
        )
    )
    words = [
        "--run",
        "sh plant",
        "--run",
        f"export API_TOKEN={random[18]}; :",
        "--env",
        f"DB_PASSWORD={random[19]}",
    ]
    result = project.setup(*words)
    assert result.status == 254
    named = [path for path in lines if path in result.err]
    assert len(named) == len(lines), result.err
    assert "DB_PASSWORD" in result.err and "command 2, which may hold a secret" in result.err
    assert "nothing is kept or pushed" in result.err
    assert not project.proxy.pushed()
    kept = project.setup("--allow-secrets", *words)
    assert kept.status == 0, kept.err
    labels = repr(project.inspect(project.image)["Config"]["Labels"])
    recipe = (project.folder / ".womm.d/Dockerfile").read_text()
    state = State.of(project.folder).folder
    files = "".join(path.read_text(errors="replace") for path in state.rglob("*") if path.is_file())
    shown = "".join(
        (
            result.out,
            result.err,
            kept.out,
            kept.err,
            labels,
            recipe,
            files,
            (project.folder / ".womm").read_text(),
        )
    )
    assert [value for value in random if value[:36] in shown] == []


def test_secret_that_the_user_does_not_want_to_push_stays_in_the_testbed(project: Project) -> None:
    with project.dialogue() as child:
        child.sendline("echo password hunter2 | tee /root/.netrc >/dev/null")
        child.expect_exact("testbed:")
        child.sendline("exit")
        answer(child, "Does it work? y/n", "y")
        child.expect_exact("/root/.netrc")
        answer(child, "Push it all the same? y/n", "")
        child.expect_exact("testbed:")  # back in
        child.sendline("rm /root/.netrc; touch /made; exit")
        answer(child, "Does it work? y/n", "y")
        child.expect_exact("womm doctor")
    assert project.run_in_image("ls /made") == b"/made\n"
