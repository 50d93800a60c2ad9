"""The table of what pods see."""

from womm.here.programs import Programs, Root
from womm.here.shown import table


def test_table_has_every_root_with_its_reason():
    programs = Programs(
        roots=(
            Root("/usr", "system", "the system's programs"),
            Root("/home/me/\x1bx", "venv", "in PATH", True),
        ),
        links=(("/bin", "/usr/bin"),),
        etc=("passwd",),
        env={"PATH": "/usr/bin", "LANG": "C"},
        notes=("a note",),
    )
    assert table(programs) == [
        "pods see of this machine, read-only, what every user here may read:",
        "  /usr            system              the system's programs",
        "  /home/me/\\x1bx  venv, by your word  in PATH",
        "  /bin            link                to /usr/bin",
        "  /etc            system              1 entry of an allow-list",
        "with these variables: PATH LANG",
        "a note",
    ]
