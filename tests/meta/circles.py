"""Which modules of the project import each other in a circle, packages of theirs included."""

import grimp
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tests.meta.project import PACKAGES


def modules_in_circles() -> list[str]:
    """List modules that lie on a circle of imports; only for those can it matter which comes first."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    names = sorted(graph.modules)
    number = {name: at for at, name in enumerate(names)}
    edges = [
        (number[name], number[other])
        for name in names
        for other in (*graph.find_modules_directly_imported_by(name), name.rpartition(".")[0])
        if other
    ]
    starts, ends = (np.array(side) for side in zip(*edges, strict=True))
    links = coo_array((np.ones(len(edges)), (starts, ends)), shape=(len(names), len(names)))
    _, circle = connected_components(links, connection="strong")
    return [name for name in names if np.count_nonzero(circle == circle[number[name]]) > 1]
