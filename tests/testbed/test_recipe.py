"""The recipe: what it says of a visit, what stays of it, and that docker makes the same image of it."""

import pytest

from tests.secrets.planting import made
from womm.errors import ImageError
from womm.image.build import build
from womm.image.progress import Progress
from womm.testbed import recipe
from womm.testbed.recipe import Origin, Visit
from womm.testbed.shell_files import Typed

DIGEST = "sha256:" + "a" * 64
BASE = Origin("debian:12", DIGEST)
NOW = "2026-11-30 14:05"


def typed(*texts: str, cwd: str = "/", status: int = 0) -> tuple[Typed, ...]:
    return tuple(Typed(status, cwd, text) for text in texts)


def lines(visit: Visit, origin: Origin = BASE, folder=None) -> list[str]:
    found = list(recipe.added(origin, visit, folder))
    assert not found or found.pop(0) == f"# womm setup, {NOW}"
    return found


def test_story_of_a_new_user_becomes_a_recipe(tmp_path):
    visit = Visit(
        NOW,
        typed=typed(
            "ls", "apt-get update", "apt-get install jq", "export MODE=fast", "exit", cwd=str(tmp_path)
        ),
        variables={"MODE": "fast"},
    )
    path = recipe.write(tmp_path, BASE, visit, tmp_path)
    assert path is not None
    assert path == tmp_path / ".womm.d" / "Dockerfile"
    assert (
        path.read_text()
        == f"""\
# The image of {tmp_path.name}: how to make it again without the testbed.
# womm setup adds the commands of each visit below; your own edits stay. To build it:
#     womm setup --dockerfile .womm.d/Dockerfile
# womm setup began with debian:12@{DIGEST}
FROM debian@{DIGEST}

# womm setup, {NOW}
RUN apt-get update
RUN apt-get install -y jq
ENV MODE="fast"
"""
    )


def test_second_visit_is_added_and_edits_stay(tmp_path):
    path = recipe.write(tmp_path, BASE, Visit(NOW, given=["a"]), None)
    assert path is not None
    path.write_text(path.read_text().replace("RUN a", "RUN edited") + "# mine")
    before = path.read_text()
    assert recipe.write(tmp_path, BASE, Visit("later", given=["b"]), None) == path
    assert path.read_text() == before + "\n\n# womm setup, later\nRUN b\n"


def test_edited_from_is_still_the_same_recipe(tmp_path):
    path = recipe.write(tmp_path, BASE, Visit(NOW, given=["a"]), None)
    assert path is not None
    path.write_text(path.read_text().replace(f"FROM debian@{DIGEST}", "FROM debian:13"))
    recipe.write(tmp_path, BASE, Visit(NOW, given=["b"]), None)
    assert "FROM debian:13" in path.read_text()


def test_other_base_begins_a_new_file_and_keeps_the_old(tmp_path):
    for name in ("debian:12", "alpine:3.20", "fedora:40"):
        recipe.write(tmp_path, Origin(name), Visit(NOW, given=[f"install of {name}"]), None)
    folder = tmp_path / ".womm.d"
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    assert sorted(texts) == ["Dockerfile", "Dockerfile.1", "Dockerfile.2"]
    assert "FROM fedora:40\n" in texts["Dockerfile"]
    assert "FROM debian:12\n" in texts["Dockerfile.1"]
    assert "FROM alpine:3.20\n" in texts["Dockerfile.2"]


def test_users_own_file_goes_on_if_its_base_is_the_same(tmp_path):
    own = tmp_path / ".womm.d" / "Dockerfile"
    own.parent.mkdir()
    own.write_text("FROM golang AS built\nRUN a\nfrom debian:12\nCOPY --from=built /a /b\n")
    recipe.write(tmp_path, BASE, Visit(NOW, given=["b"]), None)
    assert own.read_text().endswith(f"COPY --from=built /a /b\n\n# womm setup, {NOW}\nRUN b\n")


def test_visit_that_changes_nothing_writes_nothing(tmp_path):
    assert recipe.write(tmp_path, BASE, Visit(NOW, typed=typed("ls", "cd /", "exit")), None) is None
    assert list(tmp_path.iterdir()) == []


def test_link_that_leads_nowhere_is_refused(tmp_path):
    (tmp_path / ".womm.d").mkdir()
    (tmp_path / ".womm.d" / "Dockerfile").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ImageError, match="leads nowhere"):
        recipe.write(tmp_path, BASE, Visit(NOW, given=["a"]), None)
    assert not (tmp_path / "elsewhere").exists()


def test_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / ".womm.d").touch()
    with pytest.raises(ImageError, match="cannot write"):
        recipe.write(tmp_path, BASE, Visit(NOW, given=["a"]), None)


def test_command_elsewhere_begins_with_its_folder():
    visit = Visit(NOW, typed=typed("make-it", cwd="/opt/a b"))
    assert lines(visit) == ["RUN cd '/opt/a b' && make-it"]
    assert lines(visit, Origin("a", workdir="/opt/a b")) == ["RUN make-it"]
    assert lines(Visit(NOW, typed=typed("make-it")), Origin("a", workdir="/opt")) == ["RUN cd / && make-it"]


def test_what_no_build_can_repeat_is_a_comment(tmp_path):
    (tmp_path / "setup.sh").touch()
    visit = Visit(
        NOW,
        given=["sh setup.sh"],
        typed=(
            *typed("nano /etc/motd"),
            *typed("./setup.sh\nmake", cwd=str(tmp_path)),
            *typed("apt-get instal jq", status=100),
            *typed("rm /\udcff"),
        ),
    )
    assert lines(visit, folder=tmp_path) == [
        "# left out, since a build has no files of this machine: sh setup.sh",
        "# done by hand: nano /etc/motd",
        "# left out, since a build has no files of this machine: ./setup.sh\n# make",
        "# failed with status 100: apt-get instal jq",
        "# its bytes are not UTF-8: rm /\\xff",
    ]


def test_secret_is_left_out_and_said():
    value = made(20)
    visit = Visit(
        NOW,
        given=[f"tool --password {value}"],
        typed=typed(f"curl -H 'Authorization: Bearer {value}' https://a.example.org > /a"),
        variables={"API_TOKEN": value, "MODE": "fast"},
    )
    found = lines(visit)
    assert found == [
        "# a command of --run is left out here: it looks like a secret",
        "# a command is left out here: it looks like a secret",
        "# the variable API_TOKEN is left out here: it looks like a secret",
        'ENV MODE="fast"',
    ]


def test_variables_stand_where_they_were_exported():
    visit = Visit(
        NOW,
        typed=typed("one", "export A=1", "two", "source /opt/env.sh", "three", "export B=2"),
        variables={"A": "1", "B": "2", "C": "3", "D": "a\nb"},
    )
    assert lines(visit) == [
        "RUN one",
        'ENV A="1"',
        "RUN two",
        'ENV B="2"',
        'ENV C="3"',
        "# a Dockerfile cannot hold this value of D: 'a\\nb'",
        "RUN three",
    ]


def test_root_does_what_the_images_user_cannot():
    origin = Origin("a", user="1000:1000")
    assert lines(Visit(NOW, given=["b"]), origin) == ["USER root", "RUN b", "USER 1000:1000"]
    assert lines(Visit(NOW, variables={"A": "b"}), origin) == ['ENV A="b"']
    assert lines(Visit(NOW, given=["b"]), Origin("a", user="root")) == ["RUN b"]


@pytest.mark.slow
def test_docker_makes_the_same_image_of_a_recipe(daemon, bases, tmp_path):
    values = {
        "A": "plain",
        "SPACES": "  two  words ",
        "QUOTES": "'single' \"double\" `back`",
        "DOLLARS": "$PATH ${A} $$ \\$x",
        "SLASHES": "\\ \\\\ \\n end\\",
        "HASH": "# no comment",
        "EMPTY": "",
        "UMLAUT": "ü",
    }
    visit = Visit(
        NOW,
        given=["echo given > /work/given"],
        typed=(
            *typed("echo \"it's\" '$here' \\\\ > /work/quotes"),
            *typed("cat > '/work/here document' <<'EOF'\n# first\n  $second \\\n\nEOF"),
            *typed("for name in a b\ndo\n    # note\n    echo $name >> loop\ndone", cwd="/work"),
            *typed("[ -e /work ] && echo yes > bracket", cwd="/work"),
            *typed("cat <<< word > arrow; echo {x,y} > braces", cwd="/work"),
            *typed("export A=plain"),
            *typed("echo $A > /work/variable; id -u > /work/user"),
        ),
        variables=values,
        bash=True,
    )
    base = bases.built("recipe", f"FROM {bases.debian()}\nRUN mkdir -m 777 /work\nUSER 1000\nWORKDIR /opt\n")
    origin = Origin(base, user="1000", workdir="/opt")
    path = recipe.write(tmp_path, origin, visit, None)
    assert path is not None
    image = build(daemon, path, "womm-test-again", "1", labels={}, progress=Progress(print), network="none")
    try:
        config = daemon.client.api.inspect_image(image)["Config"]
        env = dict(entry.split("=", 1) for entry in config["Env"])
        assert {name: env.get(name) for name in values} == values
        assert (config["User"], config["WorkingDir"]) == ("1000", "/opt")
        script = 'cd /work && for file in *; do printf \'%s=\' "$file"; cat "$file"; done'
        out = daemon.client.containers.run(
            image, ["sh", "-c", script], network_mode="none", remove=True
        ).decode()
    finally:
        daemon.client.images.remove(image, force=True)
    assert out == (
        "arrow=word\nbraces=x y\nbracket=yes\ngiven=given\nhere document=# first\n  $second \\\n\n"
        "loop=a\nb\nquotes=it's $here \\\nuser=0\nvariable=plain\n"
    )
