"""/available_models as a page for people."""

from __future__ import annotations

import jinja2

from adapter.http.schemas import AvailableModels

_PAGE = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>SchwiftServe: models</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; }
  table { border-collapse: collapse; width: 100%; }
  th, td { border-bottom: 1px solid #ddd; padding: .5rem; text-align: left; vertical-align: top; }
  code { background: #f4f4f4; padding: .1rem .3rem; }
  .ready, .asleep { color: #176f2c; } .failed, .unavailable { color: #a40e26; }
</style>
<h1>Models</h1>
<table>
<tr><th>Name<th>State<th>Input<th>Output<th>Endpoints
{% for model in models %}
<tr>
<td><strong>{{ model.name }}</strong> {{ model.version }}
({{ model.backend }}{{ ", pack " ~ model.pack if model.pack }})<br>{{ model.description }}
<td class="{{ model.state }}">{{ model.state }}
<td>{% for t in model.inputs %}<code>{{ t.name }}: {{ t.dtype }} {{ t.shape }}{{ " or null" if t.nullable }}</code>
{% for c in t.columns or () %}<br><code>{{ c.name }}: {{ c.dtype }}{{ " or null" if c.nullable }}</code>
{% endfor %}{% endfor %}
<td>{% for t in model.outputs %}<code>{{ t.name }}: {{ t.dtype }} {{ t.shape }}</code> {% endfor %}
{% if model.classes %}<br>classes: {{ model.classes | join(", ") }}{% endif %}
<td>{% for e in model.endpoints %}<code>POST /{{ e }}/{{ model.name }}</code><br>{% endfor %}
{% endfor %}
</table>
<p>Try them at <a href="docs">/docs</a>.</p>
</html>
""")


def render(available: AvailableModels) -> str:
    """Return the page as HTML, with a row for each model, whatever its state."""
    return _PAGE.render(models=available.models)
