"""What a Python model's source says, read and not imported: where its class or function is, and what that file has."""

from __future__ import annotations

import ast

from converter.errors import ArtifactError
from converter.inspect.discover import ModelSource
from converter.inspect.requirements import check_imports
from converter.schema.model import nearest


def find_package(source: ModelSource) -> str:
    """Find the module of `class` below the model's folder, and the class or function in it, without importing it.

    `models.<folder>.module:Class` counts from the folder that holds models/, `module:Class` from the model's
    own. Returns the first word of the former; the folder is copied under that name.
    """
    dotted, _, class_name = (source.spec.model_args.class_ or "").partition(":")
    parts = dotted.split(".")
    package = source.models_name
    relative = _find_module(source, parts)
    if relative is None and len(parts) > 1 and parts[1] == source.folder.name:
        package = parts[0]
        relative = _find_module(source, parts[2:])
    where = f"{source.config}: model.model_args.class"
    if relative is None:
        above = f"{source.models_name}.{source.folder.name}"
        importable = all(part.isidentifier() for part in above.split("."))
        remedy = f"{above}.<module>:{class_name} or <module>:{class_name}" if importable else f"<module>:{class_name}"
        raise ArtifactError(f"{where}: no module {dotted} here: write {remedy}, for a file in this folder")
    try:
        tree = ast.parse((source.folder / relative).read_bytes())
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", 1)
        raise ArtifactError(f"{source.folder.name}/{relative}:{line}: not valid Python: {error}") from error
    names = _list_top_level_names(tree)
    if names is not None and class_name not in names:
        raise ArtifactError(f"{where}: {relative} has no class or function {class_name}{nearest(class_name, names)}")
    check_imports(source, relative, package)
    return package


def _find_module(source: ModelSource, parts: list[str]) -> str | None:
    names = ["/".join([*parts, "__init__.py"])]
    if parts:
        names.insert(0, "/".join(parts) + ".py")
    return next((name for name in names if name in source.files), None)


def _list_top_level_names(tree: ast.Module) -> set[str] | None:
    """List what a module defines or imports at its top; None if `import *` makes that unknown."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return None if "*" in names else names
