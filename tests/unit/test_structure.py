"""How the house is built: which module knows which.

Every form of import counts, also those that only the type checker sees and those inside functions: whoever reads a
module has to know what it names.
"""

from __future__ import annotations

import ast
import functools
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
ROOT = "hubbub"

# From the top down.  A module imports from its own line and from those below it, of what is named here.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("process", "supervisor"),
    ("server",),
    ("uvicorn",),
    ("mount",),
    ("service",),
    (
        *("addresses", "certs", "checks", "drain", "links", "listening", "memory", "messenger", "metrics"),
        *("names", "engine.urls"),
        "shutdown",
        "telemetry",
    ),
    ("inheritance", "occupant", "slots", "systemd"),
    ("schema",),
    ("door",),
    ("http",),
    ("wire",),
    ("testing",),
    ("builtin", "hub"),
    ("core", "heartbeat"),
    (
        "admin",
        "admin_events",
        "changing",
        "chat",
        "dispatch",
        "following_events",
        "oversight",
        "people_events",
        "renewal",
        "search",
    ),
    ("direct", "directory", "following"),
    ("people",),
    ("entries",),
    ("rooms",),
    ("entrance", "feeding"),
    ("invitations", "keyring"),
    (
        "catchup",
        "pump",
        "quotas",
        "expiry",
        "handle",
        "handlers",
        "ledger",
        "notices",
        "permissions",
        "presence",
        "publications",
        "recent",
        "room",
        "sessions",
        "unread",
    ),
    ("connections", "holding", "posting", "threads", "client"),
    ("dialect", "accounts", "jws", "logins", "otp", "signers", "signing_in", "tokens", "turns"),
    ("amending",),
    ("engine",),
    ("audit", "looks", "samples"),
    (
        "age",
        "configuration",
        "counts",
        "tallies",
        "events",
        "fetching",
        "naming",
        "policy",
        "published",
        "rules",
        "settings",
        "signatures",
        "logs",
        "ration",
        "budgets",
        "tasks",
        "words",
    ),
    ("acts", "errors"),
)

# What no layer below `wire` may know, except an engine that is reached over a network, and fetching from a URL: network
# libraries, and the transports of asyncio, by how their names look.
NETWORK = ("socket", "ssl", "select", "selectors", "socketserver", "websockets", "httptools", "picows", "uvloop")
TRANSPORTS = ("Transport", "Protocol", "Server", "Stream", "Datagram", "open_connection", "open_unix", "start_")
NETWORKED = (f"{ROOT}.engine.redis", f"{ROOT}.fetching")

# Programs of their own.  They share the words of the protocol with the server, and nothing else.
BESIDE = {
    "sdk": ("sdk", "errors", "events", "naming", "published"),
    "check": ("check", "sdk", "errors", "events"),
    "bench": ("bench", "sdk", "errors", "events", "settings"),
    "cluster": ("cluster", "errors"),
}

Graph = Mapping[str, Mapping[str, int]]


# Reading


def modules_under(folder: Path, package: str) -> dict[str, Path]:
    """The modules of a package, a package's `__init__` under the name of the package."""
    found = {}
    for file in sorted((folder / package).rglob("*.py")):
        parts = file.relative_to(folder).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


class Imports(ast.NodeVisitor):
    """What one module imports: the full names, as far as the import statement gives them, and the lines."""

    def __init__(self, module: str, *, is_package: bool, known: Mapping[str, object]) -> None:
        self.found: dict[str, int] = {}
        self._package = module if is_package else module.rpartition(".")[0]
        self._known = known

    def visit_Import(self, node: ast.Import) -> None:  # ast's name
        # Importing a.b.c runs a and a.b, too; but nothing of theirs is used.
        for name in node.names:
            self._note(name.name, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:  # ast's name
        base = node.module or ""
        if node.level:
            package = self._package.split(".")
            parents = package[: len(package) - node.level + 1]
            base = ".".join([*parents, base] if base else parents)
        for name in node.names:
            submodule = f"{base}.{name.name}"
            self._note(submodule if submodule in self._known else base, node)

    def visit_Call(self, node: ast.Call) -> None:  # ast's name
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0] if node.args else None
        if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
            self._note(str(first.value), node)
        self.generic_visit(node)

    def _note(self, name: str, node: ast.stmt | ast.expr) -> None:
        self.found.setdefault(name, node.lineno)


def read_imports(modules: Mapping[str, Path]) -> dict[str, dict[str, int]]:
    """What each module imports, of the standard library and others, too, each with its line."""
    graph = {}
    for module, file in modules.items():
        imports = Imports(module, is_package=file.name == "__init__.py", known=modules)
        imports.visit(ast.parse(file.read_text(), str(file)))
        graph[module] = imports.found
    return graph


@functools.cache
def house() -> dict[str, dict[str, int]]:
    """What each module of the project imports."""
    return read_imports(modules_under(SRC, ROOT))


def inner(graph: Graph) -> dict[str, dict[str, int]]:
    """The imports of modules of the graph alone."""
    return {module: {name: line for name, line in found.items() if name in graph} for module, found in graph.items()}


# Circles


def circles(graph: Graph) -> list[list[str]]:
    """Circles of imports, each once, beginning anywhere in it."""
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
        elif module not in done:
            for name in graph[module]:
                walk(name, [*path, module])
            done.add(module)

    for module in graph:
        walk(module, [])
    return found


def told(circle: list[str], graph: Graph) -> str:
    """A circle, step by step, each with the line of its import."""
    steps = [f"{one}:{graph[one][other]} -> {other}" for one, other in itertools.pairwise(circle)]
    return "\n    ".join(["a circle of imports:", *steps])


def test_no_imports_go_in_a_circle() -> None:
    graph = inner(house())
    found = circles(graph)
    assert not found, "\n".join(told(circle, graph) for circle in found)


@pytest.mark.parametrize(
    "statement",
    [
        "import pack.inside.two",
        "from pack.inside.two import TWO",
        "from pack.inside import two",
        "from .inside import two",
        "from .inside.two import TWO",
        "def late():\n    from pack.inside import two",
        "if TYPE_CHECKING:\n    from pack.inside.two import TWO",
        "two = importlib.import_module('pack.inside.two')",
        "two = __import__('pack.inside.two')",
    ],
)
@pytest.mark.parametrize("way_back", ["from pack.one import ONE", "from .. import one", "from ..one import ONE"])
def test_every_form_of_import_is_seen(tmp_path: Path, statement: str, way_back: str) -> None:
    inside = tmp_path / "pack" / "inside"
    inside.mkdir(parents=True)
    (tmp_path / "pack" / "__init__.py").touch()
    (inside / "__init__.py").touch()
    (tmp_path / "pack" / "one.py").write_text(f"{statement}\nONE = 1\n")
    (inside / "two.py").write_text("TWO = 2\n")
    modules = modules_under(tmp_path, "pack")
    assert circles(inner(read_imports(modules))) == []
    (inside / "two.py").write_text(f"{way_back}\nTWO = 2\n")
    (circle,) = circles(inner(read_imports(modules)))
    assert set(circle) == {"pack.one", "pack.inside.two"}


def test_a_package_takes_part_when_something_of_its_own_is_imported(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("from pack.one import ONE\nMORE = 1\n")
    (tmp_path / "pack" / "two.py").touch()
    one = tmp_path / "pack" / "one.py"
    one.write_text("from pack import two\nONE = 1\n")
    modules = modules_under(tmp_path, "pack")
    assert circles(inner(read_imports(modules))) == []
    one.write_text("from pack import MORE\nONE = 1\n")
    assert [set(circle) for circle in circles(inner(read_imports(modules)))] == [{"pack", "pack.one"}]


def test_nobody_imports_from_the_front_page() -> None:
    # It gathers names for those who use the package, and would tie everything together.
    found = [f"{module}:{imports[ROOT]}" for module, imports in house().items() if ROOT in imports]
    assert not found, f"import the module that the name is from, not {ROOT}, in {', '.join(found)}"


# Layers


def place_of(module: str, places: tuple[str, ...]) -> str | None:
    """The longest of some names that a module, or a package that it is in, has."""
    name = module.removeprefix(f"{ROOT}.")
    fitting = [place for place in places if name == place or name.startswith(f"{place}.")]
    return max(fitting, key=len, default=None)


PLACES = tuple(place for layer in LAYERS for place in layer)


def layer_of(module: str) -> int | None:
    """Which of the layers a module is in, counted from the top; None for one beside them."""
    place = place_of(module, PLACES)
    return None if place is None else next(number for number, layer in enumerate(LAYERS) if place in layer)


def test_every_module_has_its_layer() -> None:
    missing = [module for module in house() if module != ROOT and place_of(module, (*PLACES, *BESIDE)) is None]
    assert not missing, f"say in LAYERS, and in docs/architecture.md, where these belong: {', '.join(missing)}"


def upward() -> Iterator[str]:
    """Imports of a module from a layer above its own."""
    for module, imports in inner(house()).items():
        mine = layer_of(module)
        if mine is None:
            continue
        for name, line in imports.items():
            other = layer_of(name)
            if other is not None and other < mine:
                yield f"{module}:{line} imports {name}, which is above it"


def test_imports_point_down() -> None:
    assert not list(upward()), "\n".join(upward())


def below_the_wire() -> Iterator[str]:
    """The modules that are to know no network."""
    wire = layer_of(f"{ROOT}.wire")
    assert wire is not None
    for module in house():
        layer = layer_of(module)
        if layer is not None and layer > wire and not module.startswith(NETWORKED):
            yield module


def test_the_network_is_known_above_alone() -> None:
    found = [
        f"{module}:{line} imports {name}"
        for module in below_the_wire()
        for name, line in house()[module].items()
        if name.partition(".")[0] in NETWORK or name.startswith("asyncio.")
    ]
    assert not found, "\n".join(found)


def test_transports_are_known_above_alone() -> None:
    files = modules_under(SRC, ROOT)
    found = [
        f"{module}:{node.lineno} uses asyncio.{node.attr}"
        for module in below_the_wire()
        for node in ast.walk(ast.parse(files[module].read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "asyncio"
        and any(word in node.attr for word in TRANSPORTS)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("program", BESIDE)
def test_programs_beside_the_server_share_words_with_it_and_nothing_else(program: str) -> None:
    found = [
        f"{module}:{line} imports {name}"
        for module, imports in inner(house()).items()
        if place_of(module, (program,))
        for name, line in imports.items()
        if place_of(name, BESIDE[program]) is None
    ]
    assert not found, "\n".join(found)


def test_the_server_does_without_the_programs_beside_it() -> None:
    # The command line starts them all.
    found = [
        f"{module}:{line} imports {name}"
        for module, imports in inner(house()).items()
        if place_of(module, PLACES) not in (None, "cli", "__main__")
        for name, line in imports.items()
        if place_of(name, tuple(BESIDE))
    ]
    assert not found, "\n".join(found)


def test_what_is_for_tests_is_used_by_tests_alone() -> None:
    found = [
        f"{module}:{imports[name]}" for module, imports in house().items() if (name := f"{ROOT}.testing") in imports
    ]
    assert not found, f"{', '.join(found)}"


def test_engines_are_known_to_the_one_who_opens_them() -> None:
    # Everything else sees the port alone.  The command line's accounts need no server.
    engines = tuple(module.removeprefix(f"{ROOT}.") for module in house() if module.startswith(f"{ROOT}.engine."))
    found = [
        f"{module}:{line} imports {name}"
        for module, imports in inner(house()).items()
        if place_of(module, ("engine", "testing", "cli")) is None
        for name, line in imports.items()
        if place_of(name, engines) and name != f"{ROOT}.engine.urls"
    ]
    assert not found, "\n".join(found)


# Names


# What the engine keeps, and what the Python client makes of it: public on both sides.
ON_BOTH_SIDES = {"Message", "Page", "Receipt"}


def classes() -> Iterator[tuple[str, str]]:
    """Every class of the project, with its module."""
    for module, file in modules_under(SRC, ROOT).items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                yield node.name, module


def test_no_two_classes_have_one_name() -> None:
    places: dict[str, list[str]] = {}
    for name, module in classes():
        places.setdefault(name, []).append(module)
    found = {name: modules for name, modules in places.items() if len(modules) > 1}
    told = [f"{name} is in {', '.join(found[name])}" for name in found.keys() - ON_BOTH_SIDES]
    assert not told, "\n".join(told)
    assert found.keys() == ON_BOTH_SIDES


def test_no_two_files_of_tests_have_one_name() -> None:
    """pytest takes two of them for one module, and runs neither."""
    names = [file.name for file in Path(__file__).parents[1].glob("*/test_*.py")]
    assert sorted(names) == sorted(set(names))
