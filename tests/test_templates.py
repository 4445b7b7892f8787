"""Templates are strict, sandboxed, bounded and always give the same text."""

import gc
import signal
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtd_worker.errors import RenderError
from jtd_worker.metering import METERING_FILTERS
from jtd_worker.templates import CompiledTemplate, LayoutSource, Rendered, Template, TemplateCache, Variable

NOW = datetime(2030, 1, 31, 9, 30, tzinfo=UTC)
SECRET = "s3cret-value"


def template(content: str = "", **changes: Any) -> Template:
    given: dict[str, Any] = {"id": uuid4(), "version": 1, "key": "hello_v1", "channel_code": "email"}
    return Template(**(given | {"content": content} | changes))


def written(source: Template, **variables: Any) -> Rendered:
    compiled = CompiledTemplate(source)
    return compiled.render(compiled.complete(variables), NOW)


def text(content: str, **variables: Any) -> str:
    return written(template(content), **variables).text


def html(content_html: str, **variables: Any) -> str:
    rendered = written(template(content_html=content_html), **variables).html
    assert rendered is not None
    return rendered


def refused(source: Template, **variables: Any) -> RenderError:
    with pytest.raises(RenderError) as caught:
        written(source, **variables)
    assert SECRET not in str(caught.value)
    return caught.value


def row(**changes: Any) -> Mapping[str, Any]:
    return {
        "id": UUID(int=1),
        "version": 3,
        "template_key": "hello_v1",
        "channel_code": "email",
        "subject": "Hello",
        "content": "Hi",
        "content_html": "<p>Hi</p>",
        "variables": [],
        "locale": "en",
        "provider_template_id": None,
        "parameter_format": None,
        "language": None,
        "dlt_entity_id": None,
        "dlt_template_id": None,
    } | changes


@contextmanager
def deadline(seconds: int) -> Iterator[None]:
    def late(*_: object) -> None:
        pytest.fail(f"not done within {seconds} s")

    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def test_a_row_becomes_a_template() -> None:
    made = Template.from_row(
        row(
            variables=["name", {"name": "link", "type": "string", "required": False}],
            layouts={"base": {"content": "T", "content_html": None}},
        )
    )
    assert (made.id, made.version, made.key, made.locale) == (UUID(int=1), 3, "hello_v1", "en")
    assert made.variables == (Variable(name="name"), Variable(name="link", required=False))
    assert made.layouts == {"base": LayoutSource(content="T", content_html=None)}


def test_an_empty_subject_and_html_count_as_none() -> None:
    made = Template.from_row(row(subject="", content_html="", content=None, variables=None))
    assert (made.subject, made.content, made.content_html, made.variables) == (None, "", None, ())


def test_a_declared_variable_is_required_unless_it_has_a_default() -> None:
    made = Template.from_row(row(variables=[{"name": "a"}, {"name": "b", "default": "there"}]))
    assert [variable.required for variable in made.variables] == [True, False]


@pytest.mark.parametrize(
    "bad", ["name", {"name": "x"}, [""], [1], [{"type": "string"}], [{"name": "x", "required": "no"}]]
)
def test_a_bad_shape_of_variables_is_an_invalid_template(bad: object) -> None:
    with pytest.raises(RenderError) as caught:
        Template.from_row(row(variables=bad))
    assert caught.value.code == "template_invalid"


def test_no_text_of_a_template_stands_in_its_repr() -> None:
    assert SECRET not in repr(template(SECRET, subject=SECRET, content_html=SECRET))


def test_all_parts_are_written_and_only_html_is_escaped() -> None:
    source = template("{{ name }}", subject="To {{ name }}", content_html="<p>{{ name }}</p>")
    rendered = written(source, name="<O'Hara> & Co")
    assert rendered.subject == "To <O'Hara> & Co"
    assert rendered.text == "<O'Hara> & Co"
    assert rendered.html == "<p>&lt;O&#39;Hara&gt; &amp; Co</p>"


def test_a_template_without_subject_and_html_has_neither() -> None:
    assert written(template("x")) == Rendered(subject=None, text="x", html=None)


def test_text_and_html_extend_and_include_their_own_form_of_a_layout() -> None:
    source = template(
        '{% extends "base" %}{% block body %}{{ name }}{{ super() }}{% include "sign" %}{% endblock %}',
        content_html='{% extends "base" %}{% block body %}<b>{{ name }}</b>{% include "sign" %}{%endblock%}',
        layouts={
            "base": LayoutSource(
                content="[{% block body %}!{% endblock %}]",
                content_html="<i>{% block body %}{% endblock %}</i>",
            ),
            "sign": LayoutSource(content=" by {{ tenant }}", content_html="<hr>{{ tenant }}"),
            "broken but unused": LayoutSource(content="{% if %}"),
        },
    )
    rendered = written(source, name="Ann", tenant="A & B")
    assert rendered.text == "[Ann! by A & B]"
    assert rendered.html == "<i><b>Ann</b><hr>A &amp; B</i>"


def test_a_name_set_in_one_part_is_unknown_in_the_next() -> None:
    source = template("{{ name }}", subject="{% set name = 'other' %}{{ name }}")
    assert written(source, name="Ann").text == "Ann"


def test_now_is_the_moment_given_and_no_other_clock_is_in_reach() -> None:
    assert (
        text("{{ now.strftime('%d.%m.%Y') }} {{ now.year }} {{ now.date().isoformat() }}")
        == "31.01.2030 2030 2030-01-31"
    )
    for clock in ("now.now()", "now.today()", "now.utcnow()", "now.astimezone()"):
        assert refused(template(f"{{{{ {clock} }}}}")).code == "template_unsafe"


def test_the_keys_of_a_mapping_come_before_its_methods() -> None:
    assert (
        text(
            "{% for item in order.items %}{{ item.name }} {% endfor %}",
            order={"items": [{"name": "a"}, {"name": "b"}]},
        )
        == "a b "
    )
    assert (
        text("{% for key, value in order.items() %}{{ key }}={{ value }}{% endfor %}", order={"a": 1})
        == "a=1"
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{{ '{:,.2f}'.format(amount) }}", "1,234.50"),
        ("{{ '%.2f' | format(amount) }} {{ '%5.1f%%' % amount }}", "1234.50 1234.5%"),
        ("{{ amount | round(1) }} {{ 7.25 | round(1, 'floor') }}", "1234.5 7.2"),
        ("{{ names | join(', ') | upper }}", "ANN, BOB"),
        ("{{ names | map('upper') | join('-') }} {{ names | select('eq', 'Bob') | length }}", "ANN-BOB 1"),
        ("{{ ', '.join(names) }} {{ 'a-b'.replace('-', '+') }} {{ 'a b'.split() | last }}", "Ann, Bob a+b b"),
        ("{{ rows | sum(attribute='n') }} {{ rows | map(attribute='n') | max }}", "3 2"),
        ("{{ names | reverse | first }} {{ 'ab' | reverse }} {{ [1, 1, 2] | unique }}", "Bob ba [1, 2]"),
        ("{{ rows[0] | items | first | first }} {{ rows[0] | dictsort | length }}", "n 1"),
        ("{{ ' x ' | trim }}{{ 'xyx' | trim('x') }}{{ 'aXbX' | replace('X', '-', 1) }}", "xya-bX"),
        ("{{ names | tojson }} {{ 'Bob' in names }} {{ 'Bob' is in(names) }}", '["Ann", "Bob"] True True'),
        (
            "{{ 2 ** 10 }} {{ 'ab' * 2 }} {{ 7 % 4 }} {{ 'a' + 'b' }} {{ [1] + [2] }} {{ 'a' ~ 1 }}",
            "1024 abab 3 ab [1, 2] a1",
        ),
        ("{% for n in range(3) if n %}{{ loop.index }}:{{ n }} {% else %}none{% endfor %}", "1:1 2:2 "),
        ("{% macro row(a, b='-') %}{{ a }}{{ b }};{% endmacro %}{{ row(1) }}{{ row(2, 'x') }}", "1-;2x;"),
        ("{% macro box() %}[{{ caller() }}]{% endmacro %}{% call box() %}in{% endcall %}", "[in]"),
        ("{% filter upper %}a{{ names[0] }}{% endfilter %}{% set x %}s{{ 1 }}{% endset %}{{ x }}", "AANNs1"),
        (
            "{% set ns = namespace(n=0) %}{% for r in rows %}{% set ns.n = ns.n + r.n %}{%endfor%}{{ ns.n }}",
            "3",
        ),
        (
            "{{ 'abcdef'[1:3] }} {{ names[0] }} {{ 'a rather long text' | truncate(6, true) }}",
            "bc Ann a r...",
        ),
    ],
)
def test_the_usual_expressions_work(content: str, expected: str) -> None:
    assert text(content, amount=1234.5, names=["Ann", "Bob"], rows=[{"n": 1}, {"n": 2}]) == expected


def test_the_same_variables_always_give_the_same_parts() -> None:
    compiled = CompiledTemplate(template("{{ now }} {{ data }}", content_html="{{ data | tojson }}"))
    first = compiled.render({"data": {"b": 1, "a": [1.5, None, "x"]}}, NOW)
    assert compiled.render({"data": {"b": 1, "a": [1.5, None, "x"]}}, NOW) == first
    assert refused(template("{{ [1, 2] | random }}")).code == "template_invalid"
    assert refused(template("{{ cycler }}")).code == "template_failed"


def test_every_missing_name_of_every_part_is_named_at_once() -> None:
    source = template(
        "{{ b }} {{ c | upper }} {% for x in d %}{% endfor %} {{ e * 2 }} {% if f %}{% endif %}"
        "{{ '%s' % g }}",
        subject="{{ a }}",
        content_html="{{ user.name }} {{ known }} {{ h.i.j }} {{ k() }} {{ l > 1 }} {{ m | round(2) }}",
        variables=(Variable(name="z"), Variable(name="known")),
    )
    error = refused(source, known=SECRET, user={})
    assert error.code == "variables_missing"
    assert str(error) == "missing: a, b, c, d, e, f, g, h.i.j, k, l, m, user.name, z"


def test_a_test_or_a_default_is_no_use_of_a_missing_name() -> None:
    assert (
        text(
            "{% if a is defined %}{{ a }}{% endif %}"
            "{{ b | default('x') }}{{ c.d | d('y') }}{{ e.f is defined }}"
        )
        == "xyFalse"
    )


def test_names_in_a_branch_not_taken_are_not_missing() -> None:
    assert str(refused(template("{{ a }}{% if false %}{{ b }}{% endif %}"))) == "missing: a"


def test_a_null_is_missing_where_it_would_be_written() -> None:
    error = refused(
        template("{{ a }}{{ b.c | upper }}{% for x in d %}{% endfor %}"), a=None, b={"c": None}, d=None
    )
    assert str(error) == "missing: a, b.c, d"
    assert text("{% if a %}{{ a }}{% endif %}{{ a or '-' }}{{ a | default('x') }}", a=None) == "-x"


def test_a_default_stands_in_for_absent_and_null() -> None:
    source = template("{{ name }}", variables=(Variable(name="name", default="there"),))
    assert written(source).text == "there"
    assert written(source, name=None).text == "there"
    assert written(source, name="Ann").text == "Ann"


def test_a_required_variable_must_be_given_even_if_unused() -> None:
    source = template("hi", variables=(Variable(name="a"), Variable(name="b")))
    assert str(refused(source, b=None)) == "missing: a, b"


def test_an_optional_variable_can_be_asked_for_but_not_written_when_absent() -> None:
    optional = (Variable(name="link", required=False),)
    assert written(template("{% if link %}{{ link }}{% endif %}", variables=optional)).text == ""
    assert str(refused(template("{{ link }}", variables=optional))) == "missing: link"


def test_a_name_that_is_a_value_is_not_repeated() -> None:
    error = refused(template("{% if prices[customer] %}{% endif %}"), prices={}, customer=SECRET)
    assert str(error) == "missing: an element"


def test_an_empty_list_has_no_first_value_to_write() -> None:
    assert str(refused(template("{{ items | first }}"), items=[])) == "missing: items"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a\n{% if %}", "text, line 2: Expected an expression"),
        ("a\n\n{{ x | nope }}", "text, line 3: there is no filter 'nope'"),
        ("{% if x is nope %}{% endif %}", "text, line 1: there is no test 'nope'"),
        ("{% extends 'base' %}", "text, line 1: there is no layout 'base'"),
        ("{% include name %}", "text, line 1: a layout is named by one text in quotes"),
        ("{% include ['a', 'b'] %}", "text, line 1: a layout is named"),
        ("{% import 'a' as a %}", "text, line 1: a template cannot import"),
        ("{% from 'a' import b %}", "text, line 1: a template cannot import"),
        ("{% include 'a' without context %}", "text, line 1: an include cannot be without context"),
        ("{% for a in b recursive %}{% endfor %}", "text, line 1: a loop cannot be recursive"),
        ("x" * 300_000, "text: longer than"),
        ("{{ a }}" * 20_000, "text: more than 10000 tokens"),
        ("{{ " + "(" * 3_000 + "1" + ")" * 3_000 + " }}", "text: too deeply nested"),
        ("{% for a in b %}" * 25 + "{% endfor %}" * 25, "text: too deeply nested"),
        ("{{ " + "9" * 200_000 + " }}", "text: too deeply nested, or too long a number"),
    ],
)
def test_a_template_that_cannot_be_compiled_says_where(content: str, says: str) -> None:
    error = refused(template(content))
    assert error.code == "template_invalid"
    assert says in str(error)


def test_a_broken_layout_is_named() -> None:
    source = template("{% extends 'base' %}", layouts={"base": LayoutSource(content="{% if %}")})
    assert str(refused(source)).startswith("layout base of text, line 1:")


def test_html_needs_a_layout_with_html() -> None:
    source = template(content_html="{% extends 'base' %}", layouts={"base": LayoutSource(content="x")})
    assert str(refused(source)) == "html, line 1: there is no layout 'base'"


def test_a_failure_while_rendering_names_its_line_and_no_value() -> None:
    source = template(
        "{% extends 'base' %}{% block body %}\n\n{{ name + 1 }}{% endblock %}",
        layouts={"base": LayoutSource(content="\n{% block body %}{% endblock %}")},
    )
    error = refused(source, name=SECRET)
    assert (error.code, str(error)) == ("template_failed", "text, line 3: TypeError")
    source = template("{% extends 'base' %}", layouts={"base": LayoutSource(content="\n{{ 1 / n }}")})
    assert str(refused(source, n=0)) == "layout base of text, line 2: ZeroDivisionError"


@pytest.mark.parametrize(
    "content",
    [
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}",
        "{{ ''|attr('__class__') }}",
        "{{ [''] | map(attribute='__class__') | list }}",
        "{{ ['']|map('attr', '__class__')|list }}",
        "{{ [''] | groupby('__class__') }}",
        "{{ [''] | sort(attribute='__class__') }}",
        "{{ '{0.__class__}'.format(name) }}",
        "{{ '{0.__class__.__init__.__globals__}'.format(now) }}",
        "{{ '{a[0].__class__}'.format(a=[1]) }}",
        "{{ ('{0.__cl' ~ 'ass__}').format(name) }}",
        "{{ '{a.__class__}'.format_map({'a': 1}) }}",
        "{{ (''|attr('format_map'))({'a': 1}) }}",
        "{% set f = '{0.__class__}'['format'] %}{{ f(name) }}",
        "{{ ('{0.__class__}'|safe).format(name) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ range.__globals__ }}",
        "{{ namespace.__init__ }}",
        "{{ dict.mro() }}",
        "{{ dict.fromkeys('ab') }}",
        "{{ joiner.__call__.__func__ }}",
        "{{ self.__init__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ (1).to_bytes(9, 'big') }}",
        "{{ (1).__add__(1) }}",
        "{{ none.__class__ }}",
        "{{ now.__reduce__() }}",
        "{{ [].append(1) }}",
        "{{ data.update({'a': 1}) }}",
        "{{ data.clear() }}",
        "{% if ''.__class__ is defined %}{% endif %}",
        "{% macro m() %}{% endmacro %}{{ m._func }}",
        "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
        "{% for a in [1] %}{{ loop._iterator }}{% endfor %}",
        "{{ ''.format._write }}",
        "{{ 'x'.ljust(1000000000) }}",
        "{{ [-1000000000] | map('paid!', -1000000000) }}",
    ],
)
def test_a_way_out_of_the_sandbox_is_refused(content: str) -> None:
    assert refused(template(content), name=SECRET, data={}).code == "template_unsafe"


def test_no_filter_of_the_meter_can_be_written_in_a_template() -> None:
    for name in METERING_FILTERS:
        assert refused(template(f"{{{{ 1 | {name} }}}}")).code == "template_invalid"
        assert refused(template(f"{{{{ [1] | map('{name}', 1) }}}}")).code == "template_unsafe"


def test_the_meter_cannot_be_replaced_by_a_variable_or_an_argument() -> None:
    loop = "{% for a in range(9000) %}{% for b in range(9000) %}{% endfor %}{% endfor %}"
    assert refused(template(loop), **{"meter!": {"left": 10**12}}).code == "template_too_costly"
    fake = "{% macro free() %}{% endmacro %}{% set ns = namespace(left=0, measure=free, spend=free) %}"
    content = fake + "{{ '" + "{0}" * 2_000 + "'.format(big, _loop_vars={'meter!': ns}) }}"
    assert refused(template(content), big="x" * 100_000).code in {"template_too_costly", "template_failed"}


BIG = {"big": "x" * 1_000_000, "numbers": list(range(200_000)), "short": "abc", "n": 10**9}
_TWICE = "{% set ns = namespace(a=[1], b=[1], s='x') %}{% for i in range(60) %}"
_NESTED = _TWICE + "{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}"
_OFTEN = "{% for a in range(9000) %}"


@pytest.mark.parametrize(
    "content",
    [
        _OFTEN + _OFTEN + "{% endfor %}{% endfor %}",
        _OFTEN + "{% for b in range(9000) if false %}{% endfor %}{% endfor %}",
        "{% set t %}" + _OFTEN + "{{ big }}{% endfor %}{% endset %}",
        "{% filter upper %}" + _OFTEN + "{{ big }}{% endfor %}{% endfilter %}",
        _OFTEN + "x" * 10_000 + "{% endfor %}",
        _OFTEN + "{% if 'yy' in big %}{% endif %}{% endfor %}",
        _OFTEN + "{% if big is in([big]) %}{% endif %}{% endfor %}",
        _OFTEN + "{% set x = big[::-1] %}{% endfor %}",
        _OFTEN + "{% set x = big | wordcount %}{% endfor %}",
        _OFTEN + "{% set x = big.count('z') %}{% endfor %}",
        _OFTEN + "{% set x = big.split('x') %}{% endfor %}",
        _OFTEN + "{% set x = big | list %}{% endfor %}",
        _OFTEN + "{% set x = numbers | sort %}{% endfor %}",
        _TWICE + "{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        _TWICE + "{% set ns.s = ns.s + ns.s %}{% endfor %}",
        _TWICE + "{% set ns.a = ns.a + ns.a %}{% endfor %}",
        _TWICE + "{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}{% endfor %}",
        _NESTED + "{{ ns.a }}",
        _NESTED + "{{ ns.a | string | length }}",
        _NESTED + "{{ ns.a == ns.b }}",
        _NESTED + "{{ ns.a in [ns.b] }}",
        _NESTED + "{{ [ns.b].index(ns.a) }}",
        _NESTED + "{{ [ns.a] | select('eq', ns.b) | list }}",
        _NESTED + "{{ 'x' | replace('x', ns.a) }}",
        _NESTED + "{{ [1, 2] | join(ns.a) }}",
        _NESTED + "{{ '%s' % [ns.a] }}",
        _NESTED + "{{ ns.a | tojson }}",
        "{{ 'x' * n }}",
        "{{ n * [1] }}",
        "{{ big | replace('x', big) }}",
        "{{ big.replace('x', big) }}",
        "{{ numbers | join(big) }}",
        "{{ big.join(numbers | map('string')) }}",
        "{{ big | trim(big) }}",
        "{{ big.strip(big) }}",
        "{{ numbers | map('replace', '1', big) | length }}",
        "{{ numbers | map('string') | select('in', big) | length }}",
        "{{ [" + "big," * 1_000 + "] }}",
        "{{ [" + "big," * 1_000 + "] | join }}",
        "{{ " + "big ~ " * 1_000 + "'' }}",
        "{{ '" + "{0}" * 1_000 + "'.format(big) }}",
        "{{ '" + "%(a)s" * 1_000 + "' | format(a=big) }}",
        "{% macro f(d) %}{% if d %}{{ f(d - 1) }}{{ f(d - 1) }}{% endif %}{% endmacro %}{{ f(90) }}",
        "{% macro f() %}" + "x" * 100_000 + "{% endmacro %}" + _OFTEN + "{% set x = f() %}{% endfor %}",
        "{% block a %}" + "x" * 100_000 + "{% endblock %}" + _OFTEN + "{% set x = self.a() %}{% endfor %}",
    ],
)
def test_a_template_that_would_burn_the_machine_is_stopped(content: str) -> None:
    with deadline(5):
        assert refused(template(content), **BIG).code == "template_too_costly"


@pytest.mark.parametrize(
    "content",
    [
        "{{ 2 ** n }}",
        "{% set ns = namespace(n=3) %}{% for a in range(60) %}{% set ns.n = ns.n * ns.n %}{%endfor%}",
        "{{ range(n) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (n, 1) }}",
        "{{ '%.1000000f' | format(1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, n) }}",
        "{{ 1.5 | round(n, 'ceil') }}",
        "{{ [[1], [2]] | sum(start=[]) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% block a %}{{ self.a() }}{% endblock %}",
        "{% set ns = namespace(a=[]) %}{% for i in range(5000) %}{% set ns.a = [ns.a] %}{%endfor%}{{ns.a}}",
        _NESTED + "{{ ns }}",
    ],
)
def test_an_operation_that_would_burn_the_machine_fails(content: str) -> None:
    with deadline(5):
        assert refused(template(content), **BIG).code == "template_failed"


def test_layouts_that_include_each_other_come_to_an_end() -> None:
    doubling = {f"l{n}": LayoutSource(content=f"{{% include 'l{n + 1}' %}}" * 2) for n in range(40)}
    with deadline(5):
        source = template("{% include 'l0' %}", layouts=doubling | {"l40": LayoutSource(content="")})
        assert refused(source).code == "template_too_costly"
        circle = {
            "a": LayoutSource(content="{% extends 'b' %}"),
            "b": LayoutSource(content="{% extends 'a' %}"),
        }
        assert refused(template("{% extends 'a' %}", layouts=circle)).code == "template_failed"


@pytest.mark.parametrize(
    "source",
    ["{{" * 100_000, "{%" * 100_000, "{#" * 100_000, "{% raw %}" * 20_000, "{{ 1" + "+1" * 4_000 + " }}"],
)
def test_compiling_comes_to_an_end(source: str) -> None:
    with deadline(5):
        assert refused(template(source)).code == "template_invalid"


def test_a_template_that_is_stopped_has_not_filled_the_memory() -> None:
    tracemalloc.start()
    try:
        for content in (
            _TWICE + "{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
            "{{ '" + "{0}" * 1_000 + "'.format(big) }}",
            "{% set t %}" + _OFTEN + "{{ big }}{% endfor %}{% endset %}",
        ):
            refused(template(content), **BIG)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_a_mail_with_a_table_of_a_thousand_rows_is_not_too_costly() -> None:
    cells = "<td>{{ r.name | upper }}</td><td>{{ '%.2f' | format(r.price) }}</td><td>{{ rows | length }}</td>"
    content = "{% for r in rows %}<tr>" + cells + "</tr>{% endfor %}"
    rows = [{"name": f"item {n}", "price": n / 7} for n in range(1_000)]
    assert html(content, rows=rows).count("<tr>") == 1_000


@pytest.mark.parametrize(
    "changes",
    [{"subject": "x" * 999}, {"content": "{{ big }}{{ big }}"}, {"content_html": "{{ big }}{{ big }}"}],
)
def test_a_part_that_is_too_long_is_refused(changes: dict[str, str]) -> None:
    assert refused(template(**changes), **BIG).code == "output_too_large"


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        " \tJavaScript:alert(1)",
        "java\nscript:alert(1)",
        "java\tscript\r\n:alert(1)",
        "\x01javascript:alert(1)",
        "vbscript:x",
        "data:text/html,<script>alert(1)</script>",
        "data:image/svg+xml,<svg/onload=x>",
        "\x00" * 300 + "javascript:x",
    ],
)
@pytest.mark.parametrize(
    "content_html",
    [
        '<a href="{{ url }}">x</a>',
        "<a HREF = '{{ url }}'>x</a>",
        '<img src="{{ url }}">',
        '<form action="{{ url }}">',
        '<button formaction="{{ url }}">',
        '<a href="{{ url }}',
        '<a href="{% if true %}{{ url[:4] }}{% endif %}{{ url[4:] }}">x</a>',
    ],
)
def test_a_link_that_would_run_a_script_is_refused(content_html: str, url: str) -> None:
    assert refused(template(content_html=content_html), url=url).code == "unsafe_url"


@pytest.mark.parametrize(
    "attribute",
    ["<a href=javascript:x>", '<a href="&#106;avascript&colon;x">', '<a\nhref\n=\n"jAvaScript:x">'],
)
def test_a_link_written_in_the_template_is_looked_at_too(attribute: str) -> None:
    assert refused(template(content_html=attribute)).code == "unsafe_url"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/?a=1&b=data:x",
        "mailto:a@example.com",
        "/javascript:",
        "#x",
        "cid:logo",
        "page?javascript:",
        "",
    ],
)
def test_an_ordinary_link_is_let_through(url: str) -> None:
    assert 'href="' in html('<a href="{{ url }}">data: javascript:</a> the href and the src', url=url)


@pytest.mark.parametrize("said", ["src=", "src= ", "href", "href    ", "src='", 'src="', "action=\x01"])
def test_looking_for_links_stays_cheap_whatever_is_said(said: str) -> None:
    source = template(content_html="{{ said | safe }}")
    with deadline(5):
        try:
            written(source, said=said * (1_000_000 // len(said)))
        except RenderError as error:
            unsafe = error.code
        else:
            unsafe = None
    assert unsafe == ("unsafe_url" if said in {"src=", "action=\x01"} else None)


def test_a_script_behind_a_long_run_of_control_characters_is_found() -> None:
    assert refused(template(content_html="<a href=" + "\x01" * 5_000 + "javascript:x>")).code == "unsafe_url"


def test_a_picture_may_be_inline_but_a_link_to_one_may_not() -> None:
    picture = "data:image/png;base64,iVBORw0KGgo="
    assert picture in html('<img src="{{ url }}">', url=picture)
    assert refused(template(content_html='<a href="{{ url }}">x</a>'), url=picture).code == "unsafe_url"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


_LINK = CompiledTemplate(template(content_html='<a href="{{ url }}" title="{{ url }}">{{ url }}</a>'))


@given(st.text() | st.text(alphabet="javscriptdt:\t\n \x00&#;<>\"'/"))
def test_no_variable_adds_a_tag_an_attribute_or_a_script(url: str) -> None:
    try:
        rendered = _LINK.render({"url": url}, NOW)
    except RenderError:
        return
    tags = _Tags()
    tags.feed(rendered.html or "")
    ((tag, attributes),) = tags.found
    assert (tag, [name for name, _ in attributes]) == ("a", ["href", "title"])
    address = "".join(c for c in (attributes[0][1] or "") if c > " ").lower()
    assert not address.startswith(("javascript:", "vbscript:", "data:"))


def test_a_version_is_compiled_once_and_the_one_unused_longest_makes_room() -> None:
    cache = TemplateCache(size=2)
    first, second, third = (template(str(n)) for n in range(3))
    cache.add(first)
    cache.add(second)
    kept = cache[first.id, 1]
    cache.add(first)
    assert cache[first.id, 1] is kept
    cache.add(third)
    assert (first.id, 1) in cache
    assert (second.id, 1) not in cache
    with pytest.raises(KeyError):
        cache[second.id, 1]


def test_a_new_version_is_another_template() -> None:
    cache = TemplateCache()
    old = template("old")
    cache.add(old)
    cache.add(template("new", id=old.id, version=2))
    assert cache[old.id, 1].render({}, NOW).text == "old"
    assert cache[old.id, 2].render({}, NOW).text == "new"


def test_a_broken_template_stays_broken_without_being_compiled_again() -> None:
    cache = TemplateCache()
    broken = template("{% if %}")
    cache.add(broken)
    for _ in range(2):
        with pytest.raises(RenderError, match="line 1") as caught:
            cache[broken.id, 1]
        assert caught.value.code == "template_invalid"


def test_rendering_leaves_nothing_behind() -> None:
    compiled = CompiledTemplate(template("{{ a }}", content_html="<p>{{ b }}</p>"))
    for _ in range(3):
        with pytest.raises(RenderError):
            compiled.render({}, NOW)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(50):
        with pytest.raises(RenderError):
            compiled.render({}, NOW)
    gc.collect()
    assert len(gc.get_objects()) - before < 500
