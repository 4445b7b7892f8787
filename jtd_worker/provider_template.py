"""Fills in a template that was approved with a provider: its id, its language and its parameters.

What such a provider sends is the text it has approved, with the parameters in it; a text that it has not
approved, or parameters that do not fit, it refuses, or takes and silently does not deliver.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from jtd_worker import whatsapp_template
from jtd_worker.errors import RenderError
from jtd_worker.jtd import Jtd
from jtd_worker.message import ProviderTemplate
from jtd_worker.metering import METER, Meter
from jtd_worker.part import Part
from jtd_worker.result import Json
from jtd_worker.sandbox import Sandbox
from jtd_worker.templates import MAX_PART, Template, Variable

MAX_ID: Final = 200
"""Characters of an id, as `n_jtd_templates.provider_template_id` takes them."""

# One value, written out as `{{ name }}` writes it, without its name having to be one that Jinja2 can parse.
_PARAMETER: Final = Part("parameter", Sandbox(autoescape=False), "{{ value }}", {}, MAX_PART)
_NAME: Final = re.compile(r"[a-z0-9_]+")


def fill_in(jtd: Jtd, template: Template, variables: Mapping[str, Json]) -> ProviderTemplate | None:
    """Fill in the provider's template with completed `variables`; None where the row and template name none.

    The parameters are the declared variables in their order, an optional one without a value is empty.
    Raises `RenderError`: `payload_invalid` where the row names a template that can be none,
    `template_invalid` where a named parameter has no proper name, `variables_missing`, and for whatsapp
    `parameter_unsafe` with every parameter that would not be delivered.
    """
    provider_id = _named_by(jtd) or template.provider_template_id
    if not (provider_id or template.dlt_entity_id or template.dlt_template_id):
        return None
    if template.parameter_format == "named":
        _check_names([variable.name for variable in template.variables])
    parameters = tuple(_parameters(template.variables, variables))
    if jtd.channel_code == "whatsapp":
        whatsapp_template.check_parameters(parameters)
    return ProviderTemplate(
        id=provider_id or "",
        language=template.language or jtd.locale or template.locale,
        format=template.parameter_format,
        parameters=parameters,
        dlt_entity_id=template.dlt_entity_id,
        dlt_template_id=template.dlt_template_id,
    )


def _named_by(jtd: Jtd) -> str | None:
    """Return the id that the row itself names; null and an empty text name none."""
    # The rows of all channels of one message have the same metadata: what is WhatsApp's is only its own.
    for key in ("whatsapp_template", "template_id") if jtd.channel_code == "whatsapp" else ("template_id",):
        given = jtd.metadata.get(key)
        if given is None or given == "":
            continue
        if isinstance(given, str) and len(given) <= MAX_ID and given.isprintable() and not given.isspace():
            return given
        raise RenderError(
            "payload_invalid",
            f"metadata.{key}: not the id of a template, a text of at most {MAX_ID} characters",
        )
    return None


def _check_names(names: Sequence[str]) -> None:
    bad = [name for name, times in Counter(names).items() if times > 1 or not _NAME.fullmatch(name)]
    if bad:
        raise RenderError(
            "template_invalid",
            f"names of named parameters must be of a-z, 0-9 and _, and unique: {', '.join(bad)}",
        )


def _parameters(declared: Sequence[Variable], values: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    missing = {
        variable.name for variable in declared if variable.required and values.get(variable.name) is None
    }
    if missing:
        raise RenderError("variables_missing", f"missing: {', '.join(sorted(missing))}")
    meter = Meter()
    for name in (variable.name for variable in declared):
        value = values.get(name)
        yield name, "" if value is None else _PARAMETER.render({"value": value, METER: meter})
