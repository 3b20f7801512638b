"""The folder is the registry: plug-ins are listed without importing them, and only the chosen one is loaded.

A plug-in is a file of a package folder that does not begin with "_" and defines a class `Options`.
Its name is the file's, with "-" for "_"; its help is the first line of its docstring.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import importlib
import importlib.util
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from layercli.core.errors import LayercliError

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}


def plugins(package: str) -> dict[str, str]:
    """List the plug-ins of a package folder as name -> one line of help, importing none of them."""
    return {
        _name(path): (ast.get_docstring(tree) or "").partition("\n")[0]
        for path, tree in _files(package)
        if _defines_options(tree)
    }


def constants(package: str, constant: str) -> dict[str, Any]:
    """Read one literal constant (EXTENSIONS, say) of every plug-in that has it, importing none of them."""
    found = {}
    for path, tree in _files(package):
        value = _literal(tree, constant)
        if value is not None and _defines_options(tree):
            found[_name(path)] = value
    return found


def load(package: str, name: str) -> types.ModuleType:
    """Import one plug-in; an unknown name raises LayercliError with the names there are."""
    known = plugins(package)
    if name not in known:
        raise _unknown(package, name, known)
    return importlib.import_module(f"{package}.{name.replace('-', '_')}")


def options_for(
    module: types.ModuleType, given: Mapping[str, str], typed: Callable[[str, str], str] | None = None
) -> Any:
    """Make a plug-in's Options out of `-O key=value` strings.

    typed: where they are typed in another way, (field, its text) -> the words with a value that is right.
    Fields may be int, float, bool, str, Path, Literal, tuples of these ("400-600", "1,2,3") and any of
    them `| None` ("none"). An unknown key or a value of another type raises LayercliError.
    """
    cls = module.Options
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    owner = module.__name__.rpartition(".")[2].replace("_", "-")
    values: dict[str, Any] = {}
    for key, text in given.items():
        field = key.replace("-", "_")
        if field not in fields:
            raise LayercliError(f'{owner} has no option "{key}".', suggest(key, fields))
        try:
            values[field] = _parse(text, hints[field])
        except ValueError as error:
            wanted = _describe(hints[field], bare=typed is not None)
            hint = typed(field, text) if typed else f"-O {key}=…"
            raise LayercliError(f'{owner}: {key}="{text}" is not {wanted}.', f"Try: {hint}") from error
    missing = [name for name, field in fields.items() if _required(field) and name not in values]
    if missing:
        hint = typed(missing[0], "") if typed else f"-O {missing[0]}=…"
        raise LayercliError(f'{owner} needs the option "{missing[0]}".', f"Try: {hint}")
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise LayercliError(f"{owner}: {error}.", f"Options: {_listed(fields)}.") from error


def outline(package: str, name: str) -> dict[str, str]:
    """Read a plug-in's Options as field -> "type = default" in its own words, without importing it.

    Fields that Options inherits from a class of this package or of another file are among them.
    """
    trees = {_name(path): tree for path, tree in _files(package) if _defines_options(tree)}
    if name not in trees:
        raise _unknown(package, name, trees)
    return _class_outline(trees[name], "Options")


def suggest(name: str, known: Iterable[str]) -> str:
    """Say which names there are, the closest one first where one is close."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    meant = f"Did you mean {close[0]}? " if close else ""
    return f"{meant}There are: {_listed(names)}."


def _unknown(package: str, name: str, known: Iterable[str]) -> LayercliError:
    return LayercliError(f'There is no "{name}" in {package.rpartition(".")[2]}.', suggest(name, known))


def _files(package: str) -> list[tuple[Path, ast.Module]]:
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    paths = sorted(path for folder in folders for path in Path(folder).glob("[!_]*.py"))
    return [(path, _parsed(path, path.stat().st_mtime_ns)) for path in paths]


@functools.lru_cache(maxsize=256)
def _parsed(path: Path, changed: int) -> ast.Module:
    """The tree of a file as it was at a time."""
    return ast.parse(path.read_text(encoding="utf-8"))


def _name(path: Path) -> str:
    return path.stem.replace("_", "-")


def _defines_options(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.ClassDef) and node.name == "Options" for node in tree.body)


def _class_outline(tree: ast.Module, name: str) -> dict[str, str]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            outlined: dict[str, str] = {}
            for base in node.bases:
                outlined |= _class_outline(tree, ast.unparse(base))
            for entry in node.body:
                if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name):
                    default = f" = {ast.unparse(entry.value)}" if entry.value else ""
                    outlined[entry.target.id] = ast.unparse(entry.annotation) + default
            return outlined
    module, _, cls = name.rpartition(".")
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            imported = {alias.asname or alias.name: alias.name for alias in node.names}
            if not module and cls in imported:
                return _class_outline(_source(node.module), imported[cls])
            if module in imported:
                return _class_outline(_source(f"{node.module}.{imported[module]}"), cls)
    return {}


def _source(module: str) -> ast.Module:
    """What a module's file says, without importing it; empty where there is no file."""
    spec = importlib.util.find_spec(module)
    origin = spec.origin if spec is not None else None
    return ast.parse(Path(origin).read_text(encoding="utf-8") if origin else "")


def _literal(tree: ast.Module, constant: str) -> Any:
    for node in tree.body:
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if any(isinstance(target, ast.Name) and target.id == constant for target in targets):
            value = getattr(node, "value", None)
            return ast.literal_eval(value) if value is not None else None
    return None


def _parse(text: str, hint: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _parse_union(text, arguments)
    if origin is Literal:
        return _parse_literal(text, arguments)
    if origin is tuple:
        return _parse_tuple(text, arguments)
    if hint is bool:
        word = text.strip().lower()
        if word not in _TRUE | _FALSE:
            raise ValueError(text)
        return word in _TRUE
    if hint in (int, float):
        value = hint(text)
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(text)
        return value
    if hint in (str, Path):
        return hint(text)
    raise TypeError(f"options of type {hint} cannot be given as text")


def _parse_union(text: str, arguments: tuple[Any, ...]) -> Any:
    if type(None) in arguments and text.strip().lower() == "none":
        return None
    for argument in arguments:
        if argument is type(None):
            continue
        try:
            return _parse(text, argument)
        except ValueError:
            continue
    raise ValueError(text)


def _parse_literal(text: str, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if str(choice) == text:
            return choice
    raise ValueError(text)


def _parse_tuple(text: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    open_ended = len(arguments) == 2 and arguments[1] is Ellipsis
    separator = "-" if "," not in text and not open_ended else ","
    parts = [part for part in text.split(separator) if part.strip()]
    kinds = [arguments[0]] * len(parts) if open_ended else list(arguments)
    if len(parts) != len(kinds):
        raise ValueError(text)
    return tuple(_parse(part.strip(), kind) for part, kind in zip(parts, kinds, strict=True))


def _describe(hint: Any, *, bare: bool = False) -> str:
    """What a type takes, in words; bare: without "none" and without how lists are typed."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        words = [_describe(argument, bare=bare) for argument in arguments if argument is not type(None)]
        return " or ".join(words + (["none"] if type(None) in arguments and not bare else []))
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in arguments)
    if origin is tuple:
        if bare and Ellipsis not in arguments:
            return f"{len(arguments)} {_plural(arguments[0])}"
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return f"a list of {_plural(arguments[0])} (a,b,c)"
        example = ("-" if len(arguments) == 2 else ",").join("abcdefgh"[: len(arguments)])
        return f"{len(arguments)} {_plural(arguments[0])} ({example})"
    words_for = {int: "a whole number", float: "a number", bool: "yes or no", str: "a text", Path: "a path"}
    return words_for.get(hint, str(hint))


def _plural(hint: Any) -> str:
    return {int: "whole numbers", float: "numbers", str: "words", Path: "paths"}.get(hint, str(hint))


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none yet"
