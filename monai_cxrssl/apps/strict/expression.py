# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Guarded evaluation of the expressions of a strict config.

Allowed are constants, ``@references``, arithmetic, comparisons, conditions, lists, dictionaries, subscripts,
comprehensions, and attributes and calls of what :mod:`monai_cxrssl.apps.strict.allowed` lets through. The check looks
at the syntax and resolves every name that stands in the text. What a reference holds is known only when it is
evaluated; therefore each attribute and each call is evaluated through a guard that judges the real object.
"""

from __future__ import annotations

import ast
import importlib
import re
import types
from collections.abc import Mapping
from typing import Any

from monai.bundle.config_item import ConfigExpression
from monai.bundle.reference_resolver import ReferenceResolver

from monai_cxrssl.apps.strict.allowed import BUILTINS, attribute, called, importable, is_forbidden_name
from monai_cxrssl.errors import ConfigurationError

__all__ = ["GuardedExpression", "check_expression", "imported"]

_REFERENCES = "__local_refs"
_REFERENCE = re.compile(rf"{_REFERENCES}\['([\w:]*)'\]")
_ATTRIBUTE, _CALLED = "__strict_attribute", "__strict_called"
# fmt: off
_SYNTAX = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Store, ast.Attribute, ast.Call, ast.keyword, ast.Starred,
    ast.Subscript, ast.Slice, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.UnaryOp, ast.unaryop, ast.BinOp, ast.operator,
    ast.BoolOp, ast.boolop, ast.Compare, ast.cmpop, ast.IfExp, ast.ListComp, ast.SetComp, ast.DictComp,
    ast.GeneratorExp, ast.comprehension, ast.JoinedStr, ast.FormattedValue,
)
# fmt: on


class _AnyId(dict):
    def __contains__(self, key: object) -> bool:
        return True


def imported(statement: str) -> tuple[str, Any]:
    """Return name and object of an import statement (without its ``$``).

    Raises:
        ConfigurationError: it is no single import, or of something that is not allowed.
    """
    body = _parsed(statement, "exec").body
    node = body[0] if len(body) == 1 else None
    if not isinstance(node, ast.Import | ast.ImportFrom) or len(node.names) != 1 or getattr(node, "level", None):
        raise ConfigurationError("it is not one import of one name")
    module = node.names[0].name if isinstance(node, ast.Import) else str(node.module)
    if not importable(module):
        raise ConfigurationError(f"the module {module} is not on the allow-list")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(f"{module} cannot be imported ({error})") from None
    name = node.names[0].asname or node.names[0].name
    if isinstance(node, ast.ImportFrom):
        found = attribute(found, node.names[0].name)
    if name.split(".")[0] in BUILTINS or name.startswith("_"):
        raise ConfigurationError(f"it gives {name} another meaning")
    return name, found


def check_expression(text: str, names: Mapping[str, Any]) -> None:
    """Check an expression (without its ``$``) without evaluating it.

    Args:
        text: as the config has it, with ``@references``.
        names: what the config imported.

    Raises:
        ConfigurationError: it is more than the allowed part of Python; the message names what.
    """
    _check(_parsed(_replaced(text), "eval"), names)


class GuardedExpression(ConfigExpression):
    """An expression that is checked and guarded when it is evaluated, whatever text it then has."""

    def evaluate(self, globals: dict | None = None, locals: dict | None = None) -> Any:
        """Evaluate it.

        Raises:
            ConfigurationError: it, or an object that it reaches, is not allowed; the message names id and value.
            RuntimeError: it is allowed and failed, as MONAI says it.
        """
        value = str(self.get_config())
        try:
            if self.is_import_statement(value):
                name, found = imported(value[1:])
                self.globals[name] = found
                return found
            tree = _parsed(value[1:].strip(), "eval")
            _check(tree, self.globals)
            guarded = ast.fix_missing_locations(_Guard().visit(tree))
            space = {
                **self.globals, **(globals or {}), "__builtins__": BUILTINS, _ATTRIBUTE: attribute, _CALLED: called,
            }  # fmt: skip
            return eval(compile(guarded, self.get_id() or "config", "eval"), space, locals)
        except Exception as error:
            if not (isinstance(error, ConfigurationError) and _is_own(error)):
                raise RuntimeError(f"Failed to evaluate {self}") from error
            shown = _REFERENCE.sub(r"@\1", value)
            raise ConfigurationError(
                f"{self.get_id()} is {shown!r}: {error}, so the strict option refuses it."
            ) from None


def _is_own(error: ConfigurationError) -> bool:
    """Whether this module or its guard raised an error, rather than a function that the expression called."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("monai_cxrssl.apps.strict.")


class _Guard(ast.NodeTransformer):
    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        return ast.Call(ast.Name(_ATTRIBUTE, ast.Load()), [node.value, ast.Constant(node.attr)], [])

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        return ast.Call(ast.Call(ast.Name(_CALLED, ast.Load()), [node.func], []), node.args, node.keywords)


def _replaced(text: str) -> str:
    """The text that MONAI evaluates: references are replaced before it is parsed, inside quotes, too."""
    return ReferenceResolver.update_refs_pattern(f"${text}", _AnyId())[1:].strip()


def _parsed(text: str, mode: str) -> Any:
    try:
        return ast.parse(text, mode=mode)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigurationError(f"it is no valid expression ({type(error).__name__})") from None


def _check(tree: ast.AST, names: Mapping[str, Any]) -> None:
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    taken = sorted(name for name in bound if name in BUILTINS or name in names or name.startswith("_"))
    if taken:
        raise ConfigurationError(f"it gives {taken[0]} another meaning")
    references = {id(node.value): _reference(node) for node in ast.walk(tree) if isinstance(node, ast.Subscript)}
    for node in ast.walk(tree):
        if not isinstance(node, _SYNTAX) or (isinstance(node, ast.comprehension) and node.is_async):
            raise ConfigurationError(f"it uses {type(node).__name__}, which is not of the allowed part of Python")
        if isinstance(node, ast.Attribute) and is_forbidden_name(node.attr):
            raise ConfigurationError(f"the attribute {node.attr} is not allowed")
        if isinstance(node, ast.Name):
            known = node.id in bound or node.id in BUILTINS or (node.id in names and not node.id.startswith("_"))
            if not known and references.get(id(node)) is None:
                raise ConfigurationError(f"the name {node.id} is not allowed")
        if isinstance(node, ast.Call):
            found = _static(node.func, names, bound)
            if found is not None:
                called(found)
    for target in references.values():
        # The imports, and the config as a whole, hold modules.
        if target is not None and target.split("::")[0] in ("", "imports"):
            raise ConfigurationError(f"the reference @{target} reaches the imported modules")
    _check_chains(tree, names, bound)


def _check_chains(tree: ast.AST, names: Mapping[str, Any], bound: set[str]) -> None:
    """Resolve every dotted name that begins with an import; no value may be a module."""
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and id(node) not in inner:
            found = _static(node, names, bound)
            if isinstance(found, types.ModuleType):
                raise ConfigurationError(f"it hands on the module {found.__name__}")


def _static(node: ast.expr, names: Mapping[str, Any], bound: set[str]) -> Any:
    """What a dotted name holds, as far as the text tells; None where a reference or a value begins it."""
    if isinstance(node, ast.Name):
        if node.id in bound or node.id == _REFERENCES:
            return None
        return names.get(node.id, BUILTINS.get(node.id))
    if not isinstance(node, ast.Attribute):
        return None
    holder = _static(node.value, names, bound)
    if holder is None:
        return None
    try:
        return attribute(holder, node.attr)
    except AttributeError:
        raise ConfigurationError(f"{ast.unparse(node)} does not exist") from None


def _reference(node: ast.Subscript) -> str | None:
    """The id in what MONAI writes for ``@id``."""
    if not (isinstance(node.value, ast.Name) and node.value.id == _REFERENCES and isinstance(node.slice, ast.Constant)):
        return None
    return node.slice.value if isinstance(node.slice.value, str) else None
