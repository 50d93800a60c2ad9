"""The words that start GNU parallel with the perl modules that mend it."""

import subprocess
from pathlib import Path

from tests.link.wires import PERL
from womm.engine.gnu.locate import locate
from womm.engine.gnu.start import START, start_words


def test_words_start_gnu_parallel_itself_with_all_modules_and_no_warning():
    parallel = locate({})
    words = start_words(PERL, parallel.path, ["-MOwnPerl"])
    assert (words[0], words[-1]) == (PERL, str(parallel.path))
    done = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.startswith(f"GNU parallel {parallel.version}")


def test_each_module_and_the_first_program_are_files_of_the_package():
    words = start_words(PERL, Path("/parallel"))
    folder = Path(words[1].removeprefix("-I"))
    modules = [word.removeprefix("-M") for word in words if word.startswith("-M")]
    assert modules == ["OwnChildren", "InOrder", "OneHangUp"]
    assert all((folder / f"{module}.pm").is_file() for module in modules)
    words = start_words(PERL, Path("/parallel"), ["-MDirect=9,46,0"], hands_over=True)
    assert [word for word in words if word.startswith("-M")] == [
        "-MInOrder",
        "-MOneHangUp",
        "-MDirect=9,46,0",
    ]
    assert (folder / "Direct.pm").is_file()
    assert START.is_file()
    checked = subprocess.run([PERL, "-c", START], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
