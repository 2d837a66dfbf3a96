"""Chat templates written for the tests, each with one thing that templates of models do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

#: turns behind marks; the system's turn where it stands
PLAIN = """{% for message in messages -%}
<{{ message['role'] }}>{{ message['content'] }}</{{ message['role'] }}>
{% endfor -%}
{% if add_generation_prompt %}<assistant>{% endif %}"""
#: the same after BOS, which the template writes itself
WITH_BOS = "{{ bos_token }}" + PLAIN
#: and after two of them
TWICE_BOS = "{{ bos_token }}" + WITH_BOS
#: takes no system's turn, and says so
REFUSES_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn here') }}{% endif %}" + PLAIN
)
#: takes none, and says nothing
DROPS_SYSTEM = PLAIN.replace(
    "{% for message in messages -%}", "{% for message in messages if message['role'] != 'system' -%}"
)
#: forgets all but the beginning of what is asked
DROPS_QUESTION = PLAIN.replace("{{ message['content'] }}", "{{ message['content'][:1] }}")
#: never ends
LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}" + PLAIN
#: looks where it should not
PEEPS = "{{ messages.__class__.__name__ }}" + PLAIN
#: writes no text of a size that anybody reads
SWELLS = "{{ 'x' * 10000000000 }}" + PLAIN
#: is no template
BROKEN = "{% for message in messages %}"
#: begins a thought for the model, unless it is told not to
THINKS = (
    PLAIN
    + "{% if enable_thinking is not defined or enable_thinking %}<think>\n"
    + "{% else %}<think>\n\n</think>\n\n{% endif %}"
)


def with_template(model: Path, folder: Path, template: str) -> Path:
    """A copy of a model's folder with the template in it."""
    shutil.copytree(model, folder)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


def with_named(model: Path, folder: Path, **settings: object) -> Path:
    """A copy of a model's folder with other settings of its tokenizer."""
    shutil.copytree(model, folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    return folder
