"""The eager share's benchmark runs, and is judged."""

from pathlib import Path

import pytest

from bench import eager
from bench.run import place


@pytest.mark.slow
def test_quick_section_has_figures_of_the_first_copy_and_the_next(tmp_path: Path) -> None:
    section = eager.section(place(tmp_path, quick=True))
    assert [figure.what.partition(",")[0] for figure in section.figures if figure.target] == ["first copy"]
    assert any(figure.what.startswith("next copy") for figure in section.figures)
