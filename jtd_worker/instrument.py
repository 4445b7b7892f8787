"""Rewrites the syntax tree of a template so that all its work is paid from the meter of the render.

Every loop, macro, block and include pays for its body each time it runs, and every operation that reads
a whole value pays for the size of that value. What can make more than it reads (`*`, `replace`, `join`,
a width) pays for itself: see `filters.py` and `sandbox.py`.
"""

from collections.abc import Container
from typing import Final, TypeVar

from jinja2 import Environment, nodes
from jinja2.visitor import NodeTransformer

from jtd_worker.errors import RenderError
from jtd_worker.metering import NODE_COST

# What need not be paid by size: these ask whether there is a value, or look at its length or an end.
_OF_ABSENT: Final = frozenset({"default", "d"})
_CONSTANT_TIME: Final = frozenset({"length", "count", "first", "last", "safe"})
_TESTS_OF_IDENTITY: Final = frozenset({"defined", "undefined", "none", "sameas", "boolean", "true", "false"})

_Node = TypeVar("_Node", bound=nodes.Node)


class Instrument(NodeTransformer):
    """Rewrites the tree of one template to pay for its work, and refuses what cannot be bounded.

    `names` and `layouts_used` hold, afterwards, the names the template speaks of and the layouts it
    extends or includes. Raises `RenderError` `template_invalid`.
    """

    def __init__(self, environment: Environment, layouts: Container[str], where: str) -> None:
        self._environment = environment
        self._layouts = layouts
        self._where = where
        self.names: set[str] = set()
        self.layouts_used: set[str] = set()

    def visit_Name(self, node: nodes.Name) -> nodes.Node:
        self.names.add(node.name)
        return node

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:
        self.names.add(node.attr)
        return self.generic_visit(node)

    def visit_Const(self, node: nodes.Const) -> nodes.Node:
        if isinstance(node.value, str):
            self.names.add(node.value)
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        spoken = [_spoken(child) for child in node.nodes]
        self.generic_visit(node)
        node.nodes = [
            child if isinstance(child, nodes.TemplateData) else self._filter("printed!", child, name)
            for child, name in zip(node.nodes, spoken, strict=True)
        ]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        spoken = [_spoken(child) for child in node.nodes]
        self.generic_visit(node)
        parts = zip(node.nodes, spoken, strict=True)
        node.nodes = [self._filter("printed!", child, name) for child, name in parts]
        return node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        if node.name not in self._environment.filters:
            raise self._invalid(node, f"there is no filter {node.name!r}")
        name = "" if node.node is None else _spoken(node.node)
        self.generic_visit(node)
        self._measure_arguments(node)
        if node.node is None:
            return node
        if node.name not in _OF_ABSENT:
            node.node = self._filter("filtered!", node.node, name, node.name in _CONSTANT_TIME)
        return node

    def visit_Test(self, node: nodes.Test) -> nodes.Node:
        if node.name not in self._environment.tests:
            raise self._invalid(node, f"there is no test {node.name!r}")
        self.generic_visit(node)
        self._measure_arguments(node)
        if node.node is not None and node.name not in _TESTS_OF_IDENTITY:
            node.node = self._filter("measured!", node.node)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = self._filter("measured!", node.expr)
        for operand in node.ops:
            if not isinstance(operand.expr, nodes.Const):
                operand.expr = self._filter("measured!", operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = self._filter("measured!", node.node)
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive:
            raise self._invalid(node, "a loop cannot be recursive")
        name = _spoken(node.iter)
        self._pay_for_body(node)
        node.iter = self._filter("looped!", node.iter, name)
        return node

    def visit_Template(self, node: nodes.Template) -> nodes.Node:
        return self._pay_for_body(node)

    def visit_Block(self, node: nodes.Block) -> nodes.Node:
        return self._pay_for_body(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        return self._pay_for_body(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        return self._pay_for_body(node)

    def visit_Extends(self, node: nodes.Extends) -> nodes.Node:
        return self._reference(node)

    def visit_Include(self, node: nodes.Include) -> nodes.Node:
        if not node.with_context:
            raise self._invalid(node, "an include cannot be without context")
        return self._reference(node)

    def visit_Import(self, node: nodes.Import) -> nodes.Node:
        raise self._invalid(node, "a template cannot import; extend or include a layout")

    def visit_FromImport(self, node: nodes.FromImport) -> nodes.Node:
        raise self._invalid(node, "a template cannot import; extend or include a layout")

    def _measure_arguments(self, node: nodes.Filter | nodes.Test) -> None:
        node.args = [
            arg if isinstance(arg, nodes.Const) else self._filter("measured!", arg) for arg in node.args
        ]
        for keyword in node.kwargs:
            if isinstance(keyword, nodes.Keyword):
                keyword.value = self._filter("measured!", keyword.value)

    def _reference(self, node: nodes.Extends | nodes.Include) -> nodes.Node:
        if not isinstance(node.template, nodes.Const) or not isinstance(node.template.value, str):
            raise self._invalid(node, "a layout is named by one text in quotes")
        if node.template.value not in self._layouts:
            raise self._invalid(node, f"there is no layout {node.template.value!r}")
        self.layouts_used.add(node.template.value)
        return node

    def _pay_for_body(
        self, node: nodes.Template | nodes.Block | nodes.Macro | nodes.CallBlock | nodes.For
    ) -> nodes.Node:
        cost = sum(
            len(inner.data) if isinstance(inner, nodes.TemplateData) else NODE_COST
            for inner in node.find_all(nodes.Node)
        )
        self.generic_visit(node)
        paying = self._filter("paid!", nodes.Const(None, lineno=node.lineno), cost)
        node.body.insert(0, self._rooted(nodes.ExprStmt(paying, lineno=node.lineno)))
        return node

    def _filter(self, name: str, node: nodes.Node, *args: object) -> nodes.Filter:
        constants: list[nodes.Expr] = [nodes.Const(value, lineno=node.lineno) for value in args]
        return self._rooted(nodes.Filter(node, name, constants, [], None, None, lineno=node.lineno))

    def _rooted(self, node: _Node) -> _Node:
        node.set_environment(self._environment)
        return node

    def _invalid(self, node: nodes.Node, what: str) -> RenderError:
        return RenderError("template_invalid", f"{self._where}, line {node.lineno}: {what}")


def _spoken(node: nodes.Node) -> str:
    """Say what an expression is called where its value is missing, in the template's words only."""
    match node:
        case nodes.Name(name=name):
            return name
        case nodes.Getattr(node=owner, attr=attr):
            return f"{_spoken(owner)}.{attr}"
        case nodes.Getitem(node=owner, arg=nodes.Const(value=key)):
            return f"{_spoken(owner)}.{key}"
    names = dict.fromkeys(inner.name for inner in node.find_all(nodes.Name))
    return " or ".join(names) or f"a value in line {node.lineno}"
