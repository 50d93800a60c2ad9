"""No module of womm imports itself by way of others: not in a function, and not for its types alone.

The lint looks at the modules of a package and at packages; here is a package and the modules in it, too.
"""

from graphlib import TopologicalSorter

import grimp


def test_imports_make_no_circle():
    graph = grimp.build_graph("womm")
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 100
    TopologicalSorter(imports).prepare()  # raises CycleError, with the circle
