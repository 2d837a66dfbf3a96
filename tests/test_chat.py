"""Questions by a model's own chat template: as lm-evaluation-harness asks them, and hostile ones refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import chat_templates
import pytest
import toys
from chat_templates import with_named, with_template

from slmeval.asking import Asker
from slmeval.chat import chatted, messages
from slmeval.datasets import open_folder
from slmeval.errors import ModelError, UsageError
from slmeval.questions import draft
from slmeval.registry import load
from slmeval.rendering import render
from slmeval.templates import Template, marks_of
from slmeval.testing import evaluate
from slmeval.tokenizing import read_tokenizer
from slmeval.types import Generate, ModelRef, RunOptions, RunResult, Sample, Score, Turns

pytest.importorskip("jinja2", reason="the extra `chat` is not installed")

ROOT = Path(__file__).parents[1]
TOLD = Turns("Be brief.\n\n", (("1?", "one"), ("2?", "two")), "3?")
MARKS = {"bos_token": "<s>", "eos_token": "</s>"}


def text(template: str, *, as_turns: bool = True, turns: Turns = TOLD, **options: Any) -> str:
    sample = Sample((Generate(turns.text, turns=turns),), "x")
    (made,) = chatted([sample], Template(template, MARKS, options, as_turns)).samples
    return made.requests[0].prompt


def notes(template: str) -> str:
    sample = Sample((Score(TOLD.text, " three", TOLD, " "),), 0)
    return "\n".join(chatted([sample], Template(template, MARKS)).notes)


# ---- what becomes of a prompt ------------------------------------------------------------------------


def test_examples_are_turns_or_stand_in_one_message_with_the_question() -> None:
    assert text(chat_templates.PLAIN) == (
        "<system>Be brief.\n\n</system>\n<user>1?</user>\n<assistant>one</assistant>\n<user>2?</user>\n"
        "<assistant>two</assistant>\n<user>3?</user>\n<assistant>"
    )
    assert text(chat_templates.PLAIN, as_turns=False) == (
        "<system>Be brief.\n\n</system>\n<user>1? one\n\n2? two\n\n3?</user>\n<assistant>"
    )


def test_a_prompt_whose_parts_are_not_told_is_one_message() -> None:
    (made,) = chatted([Sample((Generate("all of it"),), "x")], Template(chat_templates.PLAIN, MARKS)).samples
    assert made.requests[0].prompt == "<user>all of it</user>\n<assistant>"


def test_the_delimiter_before_a_choice_is_left_out_and_that_is_said() -> None:
    sample = Sample((Score("q", " a", TOLD, " "), Score("q", " b", TOLD, " ")), 0, ("a", "b"))
    made = chatted([sample], Template(chat_templates.PLAIN, MARKS))
    assert [part.continuation for part in made.samples[0].requests] == ["a", "b"]
    assert made.notes == ("the template stands in place of the delimiter ' ' before each choice",)


def test_a_template_is_told_options() -> None:
    assert text(chat_templates.THINKS).endswith("<think>\n")
    assert text(chat_templates.THINKS, enable_thinking=False).endswith("</think>\n\n")


@pytest.mark.parametrize("template", [chat_templates.PLAIN, chat_templates.WITH_BOS])
@pytest.mark.parametrize("as_turns", [True, False])
@pytest.mark.parametrize(
    ("name", "shots"),
    [
        ("arc_easy", 0),
        ("arc_easy", 2),
        ("winogrande", 2),
        ("mmlu_anatomy", 2),
        ("gsm8k", 3),
        ("lambada_openai", 0),
    ],
)
def test_every_prompt_and_continuation_is_that_of_lm_eval(
    name: str, shots: int, as_turns: bool, template: str, shared_data: Path, demo_model: Path, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
    from lm_eval_tasks import lm_eval_task, quiet

    model = with_template(demo_model, tmp_path / "model", template)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    theirs = lm_eval_task(name, shared_data, shots)
    with quiet():
        theirs.build_all_requests(
            limit=6,
            apply_chat_template=True,
            fewshot_as_multiturn=as_turns,
            chat_template=lambda chat, add_generation_prompt=True: tokenizer.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=add_generation_prompt
            ),
        )
    parts = load().parts
    asked = draft(
        RunOptions(compat="lm-eval", limit=6), parts.tasks[name], shots, parts, open_folder(shared_data)
    )
    made = chatted(asked.samples, Template(template, marks_of(read_tokenizer(model, "x")), {}, as_turns))
    ours = [
        (part.context, part.continuation) if isinstance(part, Score) else (part.prompt,)
        for sample in made.samples
        for part in sample.requests
    ]
    expected = [
        one.args[:1] if one.request_type == "generate_until" else one.args for one in theirs.instances
    ]
    assert ours == expected
    assert ours


# ---- strangers' programs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("LOOPS", "the chat template fails: it takes more than 5 s"),
        ("PEEPS", "SecurityError: it reads '__class__' of a list, which is forbidden"),
        ("SWELLS", "the chat template fails: "),
        ("BROKEN", "the chat template fails: TemplateSyntaxError"),
    ],
)
@pytest.mark.slow
def test_a_template_that_misbehaves_is_refused_in_one_sentence(template: str, message: str) -> None:
    begun = time.monotonic()
    with pytest.raises(ModelError) as caught:
        text(getattr(chat_templates, template))
    assert message in str(caught.value)
    assert "--chat-template off" in str(caught.value)
    assert time.monotonic() - begun < 100


@pytest.mark.slow
def test_a_child_that_ends_before_it_was_told_all_is_one_trouble_for_each() -> None:
    chats = [[{"role": "user", "content": "x" * 500}]] * 2000
    found = render(chat_templates.LOOPS, chats, MARKS)
    assert {(each.text, each.trouble[:24]) for each in found} == {(None, "it takes more than 5 s, ")}
    assert len(found) == 2000


def test_what_a_template_draws_at_random_is_the_same_each_time() -> None:
    chats = [[{"role": "user", "content": "x"}]] * 3
    found = {
        each.text for _ in range(2) for each in render("{{ range(9999)|random }} {{ lipsum(1) }}", chats, {})
    }
    assert len(found) == 1


def test_a_large_text_of_any_characters_is_taken_and_a_message_is_one_line() -> None:
    (found,) = render("{{ '\U0001f600' * 1000000 }}", [[]], {})
    assert found.text == "\U0001f600" * 1_000_000
    (found,) = render("{{ raise_exception('one\n  two') }}", [[]], {})
    assert found.trouble == "TemplateError: one two"


def test_what_python_prints_where_it_starts_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('hello', end='')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    assert [each.text for each in render("so", [[], []], {})] == ["so", "so"]
    (tmp_path / "jinja2.py").write_text("raise ImportError")
    (found,) = render("so", [[]], {})
    assert "the process that would render it cannot begin" in found.trouble


def test_a_template_that_leaves_out_the_question_is_refused_or_told() -> None:
    template = Template(chat_templates.DROPS_QUESTION, MARKS)
    one, two = (
        Sample((Generate(each, turns=Turns("", (), each)),), "x") for each in ("long, and longer", "lost")
    )
    assert chatted([one], template).notes == (
        "the template does not write the question as it is in 1 of 1 prompts",
    )
    with pytest.raises(ModelError, match="leaves out the question: it writes the same for different ones"):
        chatted([one, two], template)


def test_a_template_without_a_system_turn_is_asked_without_it_and_that_is_said() -> None:
    assert text(chat_templates.REFUSES_SYSTEM) == text(
        chat_templates.PLAIN, turns=replace(TOLD, description="")
    )
    assert "takes no system's turn: 1 of 1 prompts were made without" in notes(chat_templates.REFUSES_SYSTEM)
    assert "drops the system's turn without a word: 1 of 1" in notes(chat_templates.DROPS_SYSTEM)
    assert "system" not in notes(chat_templates.PLAIN)


def test_a_template_that_drops_examples_is_told() -> None:
    last = "{{ messages[-1].content }}"
    sample = Sample((Generate(TOLD.text, turns=TOLD),), "x")
    assert "does not write the examples as they are in 1 of 1 prompts" in "\n".join(
        chatted([sample], Template(last, MARKS)).notes
    )
    # so do those that take a thought out of what an assistant said
    bare = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}"
    thought = replace(TOLD, examples=(("1?", "<think>hm</think>one"),))
    sample = Sample((Generate(thought.text, turns=thought),), "x")
    assert "does not write the examples" in "\n".join(chatted([sample], Template(bare, MARKS)).notes)
    assert "examples" not in notes(chat_templates.PLAIN)


def test_questions_that_differ_in_white_space_alone_may_be_written_alike() -> None:
    template = Template("{{ messages[0].content | trim }}", MARKS)
    samples = [Sample((Generate(each, turns=Turns("", (), each)),), "x") for each in ("a?", "a? ", "b?")]
    made = chatted(samples, template)
    assert [each.requests[0].prompt for each in made.samples] == ["a?", "a?", "b?"]
    assert made.notes == ()


def test_an_option_that_a_template_does_not_ask_for_is_said() -> None:
    sample = Sample((Generate(TOLD.text, turns=TOLD),), "x")
    known, other = (
        chatted([sample], Template(chat_templates.THINKS, MARKS, {name: False})).notes
        for name in ("enable_thinking", "enable_thinkin_g")
    )
    assert known == ()
    assert "asks for no 'enable_thinkin_g' (--template-option)" in other[0]


def test_a_gguf_file_brings_its_template(demo_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the library that writes GGUF files is not installed")
    from gguf_vocabularies import write_vocabulary

    from slmeval.models import find_model
    from slmeval.templates import find_template

    for number, written in enumerate(("one", [{"name": "default", "template": "one"}], None)):
        more = {} if written is None else {"chat_template": written}
        path = write_vocabulary(tmp_path / f"{number}.gguf", demo_model / "tokenizer.json", "gpt-2", **more)
        found = find_model(ModelRef(str(path)), lambda _: "")
        assert find_template(found) == (None if written is None else "one")


def test_the_date_that_a_template_is_told_is_said() -> None:
    assert "asks for the date, and is told 2025-01-01" in notes(
        "{{ strftime_now('%d %b %Y') }}" + chat_templates.PLAIN
    )
    assert "date" not in notes(chat_templates.PLAIN)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ([{"name": "tool_use", "template": "x"}], r"several chat templates \('tool_use'\), and none of them"),
        ([{"name": ["odd"], "template": "x"}, 3], r"several chat templates \(\['odd'\]\), and none"),
        ({"default": "x"}, r"several chat templates \(none at all\)"),
    ],
)
def test_several_templates_without_a_default_are_told(
    named: object, message: str, demo_model: Path, tmp_path: Path
) -> None:
    model = with_named(demo_model, tmp_path / "model", chat_template=named)
    with pytest.raises(ModelError, match=message):
        run(model, tmp_path)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ModelError, match="the chat template writes what is no text: 'utf-8'"):
        text("{{ '\\ud800' }}" + chat_templates.PLAIN)


def test_special_tokens_are_known_to_templates_as_to_transformers(demo_model: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from slmeval.manners import template_for
    from slmeval.models import find_model

    marks = "{{ bos_token }}|{{ eos_token }}|{{ unk_token }}|{{ pad_token }}|{{ messages[0].content }}"
    folder = with_named(demo_model, tmp_path / "named", pad_token="<s>")
    model = with_template(folder, tmp_path / "model", marks)
    found = find_model(ModelRef(str(model)), lambda _: "")
    template = template_for(RunOptions(chat_template="on"), found, found.tokenizer())
    assert template is not None
    chat = [{"role": "user", "content": "x"}]
    (made,) = render(template.text, [chat], template.marks)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    assert made.text == tokenizer.apply_chat_template(chat, tokenize=False) == "<s>|</s>|<unk>|<s>|x"


@pytest.mark.slow
def test_many_prompts_are_written_by_one_child_and_each_has_its_own_time() -> None:
    turns = [Turns("", (), f"question {number}") for number in range(900)]
    samples = [Sample((Generate(each.text, turns=each),), "x") for each in turns]
    # each of them is slow, and all together take longer than one may
    slow = "{% for a in range(80000) %}{% endfor %}"
    made = chatted(samples, Template(slow + chat_templates.PLAIN, MARKS)).samples
    assert [each.requests[0].prompt for each in made] == [
        f"<user>question {number}</user>\n<assistant>" for number in range(900)
    ]


def test_a_conversation_is_made_once_for_all_choices_after_it() -> None:
    assert messages(TOLD, True) == messages(replace(TOLD), True)


# ---- whole runs ----------------------------------------------------------------------------------------


def run(model: Path, store: Path, **changes: Any) -> RunResult:
    given: dict[str, Any] = {
        "backends": ("reference",),
        "models": (str(model),),
        "tasks": ("gsm8k",),
        "sample": True,
        "limit": 2,
        "max_tokens": 8,
        "shots": (1,),
        "chat_template": "on",
    }
    return evaluate(RunOptions(**{**given, **changes}), store / "store.db")


def told(result: RunResult) -> str:
    return "\n".join((*result.models[0].notes, *(note for cell in result.cells for note in cell.notes)))


def test_both_ways_stand_beside_each_other(demo_model: Path, tmp_path: Path) -> None:
    model = with_template(demo_model, tmp_path / "model", chat_templates.PLAIN)
    result = run(model, tmp_path, chat_template="both", tasks=("arc_easy", "gsm8k"), shots=(0, 1))
    assert [(cell.name, cell.shots, cell.chat) for cell in result.cells] == [
        (name, shots, chat) for name in ("arc_easy", "gsm8k") for shots in (0, 1) for chat in ("off", "on")
    ]
    plain = run(demo_model, tmp_path, chat_template="off", tasks=("arc_easy", "gsm8k"), shots=(0, 1))
    off = [cell for cell in result.cells if cell.chat == "off"]
    assert [cell.figures for cell in off] == [cell.figures for cell in plain.cells]
    assert len(result.models[0].template_hash) == 64
    assert plain.models[0].template_hash == ""
    again = run(model, tmp_path, chat_template="on", tasks=("arc_easy", "gsm8k"), shots=(0, 1))
    assert again.asked == 0, "the same conversations have the same answers"
    assert [cell.figures for cell in again.cells] == [
        cell.figures for cell in result.cells if cell.chat == "on"
    ]


@pytest.mark.parametrize(
    ("template", "note"),
    [
        ("PLAIN", "the chat template writes no BOS: the tokenizer puts '<s>' before its text"),
        ("WITH_BOS", "the chat template writes BOS ('<s>'), and no second one is added"),
    ],
)
def test_what_stands_before_a_chat_is_said(
    template: str, note: str, demo_model: Path, tmp_path: Path
) -> None:
    model = with_template(demo_model, tmp_path / "model", getattr(chat_templates, template))
    assert note in told(run(model, tmp_path))


def test_a_second_bos_is_refused(demo_model: Path, tmp_path: Path) -> None:
    model = with_template(demo_model, tmp_path / "model", chat_templates.TWICE_BOS)
    with pytest.raises(ModelError, match=r"the prompt of row 1 begins with BOS twice"):
        run(model, tmp_path)
    with pytest.raises(ModelError, match=r"the context of choice 1 of row 1 begins with BOS twice"):
        run(model, tmp_path, tasks=("arc_easy",))


def test_a_second_bos_before_a_plain_prompt_is_counted(demo_model: Path, tmp_path: Path) -> None:
    model = with_template(demo_model, tmp_path / "model", chat_templates.PLAIN)
    definition = json.loads((model / "tokenizer.json").read_text())
    (step,) = [each for each in definition["post_processor"]["single"] if "SpecialToken" in each]
    definition["post_processor"]["single"].insert(0, step)
    (model / "tokenizer.json").write_text(json.dumps(definition))
    result = run(model, tmp_path, chat_template="off", tasks=("arc_easy", "gsm8k"))
    assert [cell.counts["doubled_bos"] for cell in result.cells] == [8, 2]
    with pytest.raises(ModelError, match="begins with BOS twice"):
        run(model, tmp_path)


def test_of_a_prompt_that_is_cut_what_is_left_is_looked_at(demo_model: Path) -> None:
    asker = Asker(read_tokenizer(demo_model, "x"), 64, "toy", in_chat=True)
    twice = "<s><s>The dog"
    long = Sample((Generate(twice + " ran home." * 50, 8),), "")
    assert asker.ask([long])[1] == {"truncated": 1, "merged": 0, "doubled_bos": 0}
    with pytest.raises(ModelError, match="begins with BOS twice"):
        asker.ask([Sample((Generate(twice, 8),), "")])


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("between", ["", "\n", " \n ", "\n" * 40])
def test_a_second_bos_behind_white_space_or_of_no_name_is_refused(
    named: bool, between: str, demo_model: Path, tmp_path: Path
) -> None:
    if named and not between:
        between = "\n\n"
    folder = tmp_path / "named"
    if named:
        with_named(demo_model, folder)
    else:
        with_named(demo_model, folder, bos_token=None)
        (folder / "special_tokens_map.json").unlink(missing_ok=True)
    model = with_template(folder, tmp_path / "model", between + "<s>" + chat_templates.PLAIN)
    with pytest.raises(ModelError, match="begins with BOS twice"):
        run(model, tmp_path)


def test_bos_in_later_turns_is_the_templates_own(demo_model: Path, tmp_path: Path) -> None:
    turn = "{% if m.role == 'user' %}{{ bos_token }}{% endif %}{{ m.content }}"
    template = "{% for m in messages %}" + turn + "{% endfor %}"
    model = with_template(demo_model, tmp_path / "model", template)
    assert "writes BOS ('<s>')" in told(run(model, tmp_path))


def test_bos_before_some_prompts_alone_is_said(demo_model: Path, tmp_path: Path) -> None:
    some = "{% if messages|length > 1 %}{{ bos_token }}{% endif %}" + chat_templates.PLAIN
    model = with_template(demo_model, tmp_path / "model", some)
    note = "the chat template writes no BOS in 2 of 4 prompts: the tokenizer puts '<s>' before its text"
    assert note in told(run(model, tmp_path, shots=(0, 1)))


def test_a_bos_that_the_tokenizer_does_not_read_is_said(demo_model: Path, tmp_path: Path) -> None:
    model = with_template(demo_model, tmp_path / "model", chat_templates.WITH_BOS)
    note = "the tokenizer does not read '<s>' in a text as BOS"
    assert note not in told(run(model, tmp_path))
    definition = json.loads((model / "tokenizer.json").read_text())
    kept = [each for each in definition["added_tokens"] if each["content"] != "<s>"]
    (model / "tokenizer.json").write_text(json.dumps({**definition, "added_tokens": kept}))
    assert note in told(run(model, tmp_path))


def test_a_missing_bos_is_said(demo_model: Path, tmp_path: Path) -> None:
    model = with_template(demo_model, tmp_path / "model", chat_templates.PLAIN)
    definition = json.loads((model / "tokenizer.json").read_text())
    (model / "tokenizer.json").write_text(json.dumps({**definition, "post_processor": None}))
    said = told(run(model, tmp_path, chat_template="both"))
    assert "prompts begin without BOS: the tokenizer adds none, though its files name '<s>'" in said
    assert "prompts in chat begin without BOS: neither the template nor the tokenizer writes '<s>'" in said


def test_a_whole_text_is_no_conversation(demo_model: Path, tmp_path: Path) -> None:
    model = with_template(demo_model, tmp_path / "model", chat_templates.PLAIN)
    (tmp_path / "wikitext").mkdir()
    (tmp_path / "wikitext" / "test.jsonl").write_text('{"page": "Snow lies on the hill."}')
    changes: dict[str, Any] = {"tasks": ("wikitext",), "shots": (0,), "data": str(tmp_path), "sample": False}
    (cell,) = run(model, tmp_path, **changes).cells
    assert (cell.chat, cell.notes) == (
        "off",
        ("asked without the chat template: a whole text is no conversation",),
    )
    assert [each.chat for each in run(model, tmp_path, chat_template="both", **changes).cells] == ["off"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chat_template": "yes"}, "unknown --chat-template 'yes'"),
        ({"chat_shots": "many"}, "unknown --chat-shots 'many'"),
        ({"chat_template": "off", "template_options": {"a": "1"}}, "add --chat-template on"),
        ({"thinking": "<think>"}, "--thinking <think>: auto, off, or two marks"),
        ({"thinking": "<think>, "}, "--thinking <think>, : auto, off, or two marks"),
        ({"max_tokens": 0}, "--max-tokens 0: at least 1"),
        ({"temperature": -1.0}, "--temperature -1: 0 "),
        ({"temperature": float("nan")}, "--temperature nan: 0 "),
        ({"temperature": 1.0, "top_p": 0.0}, "--top-p 0: more than 0"),
        ({"top_p": 0.5}, "--top-p makes no difference at a temperature of 0"),
        ({"repeats": 4}, "--repeats makes no difference at a temperature of 0"),
        ({"repeats": 0}, "--repeats 0: each question"),
        ({}, "has no chat template: --chat-template off asks it plainly"),
    ],
)
def test_mistakes_are_told_before_anything_is_asked(
    changes: dict[str, Any], message: str, demo_model: Path, tmp_path: Path
) -> None:
    with pytest.raises((UsageError, ModelError)) as caught:
        run(demo_model, tmp_path, **changes)
    assert message in str(caught.value)


def test_a_template_named_default_in_a_list_is_the_one(demo_model: Path, tmp_path: Path) -> None:
    several = [{"name": "tools", "template": "no"}, {"name": "default", "template": chat_templates.PLAIN}]
    model = with_named(demo_model, tmp_path / "model", chat_template=several)
    assert run(model, tmp_path).status == "done"


def test_the_report_names_the_template_and_who_wrote_the_prompts(demo_model: Path, tmp_path: Path) -> None:
    model = with_template(demo_model, tmp_path / "model", chat_templates.PLAIN)
    flags = ["--sample", "--tasks", "gsm8k", "--limit", "2", "--max-tokens", "8", "--chat-template", "both"]
    command = [
        sys.executable,
        "-m",
        "slmeval",
        "run",
        "--backend",
        "reference",
        "--model",
        str(model),
        *flags,
    ]
    done = subprocess.run(
        [*command, "--store", str(tmp_path / "store.db")],
        capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "gsm8k in chat" in done.stdout
    assert "Template   the model's own chat template, hash " in done.stdout


# ---- thoughts --------------------------------------------------------------------------------------------

THINKER = toys.MODULE.replace(
    'plain = Completion(f"#### {sum(prompt.ids) % 7}", prompt.ids[:1], "length")',
    """assert settings.thought is not None and settings.thought.begun
            ids = (5,) * 10
            if len(prompt.ids) % 2:
                plain = Completion("", ids, "length", "on and on", 10)
            else:
                plain = Completion("#### 4", ids, "stop", "well, 3 #### 5", 6)""",
).replace('context = "many" if self._trouble == "info" else 64', "context = 2048")


def test_a_thought_is_told_apart_and_its_length_and_cap_stand_beside_the_score(
    demo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "plugin"
    plugin.mkdir()
    toys.install(plugin, monkeypatch, THINKER)
    model = with_template(demo_model, tmp_path / "model", chat_templates.THINKS)
    (cell,) = run(model, tmp_path, backends=("toy",), limit=20).cells
    figures = {figure.name: figure.value for figure in cell.figures}
    cut = figures["thought_cap_hit"]
    assert 0 < cut < 1
    assert figures["cap_hit"] == cut
    assert figures["no_answer/strict-match"] == cut
    assert figures["thought_tokens"] == pytest.approx(10 * cut + 6 * (1 - cut))
    assert cell.counts["cap_hit"] == round(20 * cut)


def test_choices_within_a_thought_are_said_to_be_that(demo_model: Path, tmp_path: Path) -> None:
    model = with_template(demo_model, tmp_path / "model", chat_templates.THINKS)
    within = "the template begins a thought (<think>), and choices are scored within it"
    assert within in told(run(model, tmp_path, tasks=("arc_easy",)))
    told_not_to = {"template_options": {"enable_thinking": "false"}}
    assert within not in told(run(model, tmp_path, tasks=("arc_easy",), **told_not_to))


def test_marks_of_a_thought_may_be_named_or_switched_off(
    demo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slmeval.plan import GenerateAsk
    from slmeval.planner import plan

    model = with_template(demo_model, tmp_path / "model", chat_templates.THINKS)

    def marks(**changes: Any) -> set[Any]:
        given = {"chat_template": "on", "shots": (0,), "limit": 1, "sample": True, **changes}
        options = RunOptions(("reference",), (str(model),), ("gsm8k",), **given)
        (job,) = plan(options, load().parts, str).jobs
        asks = [ask for cell in job.cells for item in cell.items for ask in item.asks]
        assert all(isinstance(ask, GenerateAsk) for ask in asks)
        return {
            ask.settings.thought and (ask.settings.thought.opens, ask.settings.thought.begun) for ask in asks
        }

    assert marks() == {("<think>", True)}
    assert marks(template_options={"enable_thinking": "false"}) == {("<think>", False)}
    # as in Python: a text would be true to the template
    assert marks(template_options={"enable_thinking": "False"}) == {("<think>", False)}
    assert marks(thinking="off") == {None}
    assert marks(thinking="[a], [b]") == {("[a]", False)}
    assert marks(chat_template="off") == {None}
