"""Renders every template in templates/ over conversations.json with transformers.

    pip install transformers jinja2
    python generate.py [templates [expected.json]]

Tool calls' arguments are given as objects, or as text to a template that fails
with objects on the conversation "tool called".
"""

import copy
import datetime
import json
import pathlib
import sys

from transformers.utils import chat_template_utils


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26, 9, 5, 3)


chat_template_utils.datetime = Clock
here = pathlib.Path(__file__).parent
templates = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / "templates"
output = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else here / "expected.json"
conversations = json.loads((here / "conversations.json").read_text())
tools = json.loads((here / "tools.json").read_text())


def render(source, conversation, objects):
    messages = copy.deepcopy(conversation["messages"])
    for message in messages:
        for call in message.get("tool_calls", []):
            if objects:
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    try:
        rendered, _ = chat_template_utils.render_jinja_template(
            conversations=[messages],
            tools=tools if "tools" in conversation else None,
            documents=conversation.get("documents"),
            chat_template=source,
            add_generation_prompt=conversation["add_generation_prompt"],
            bos_token="<s>",
            eos_token="</s>",
            **conversation.get("kwargs", {}),
        )
        return {"text": rendered[0]}
    except Exception as e:
        return {"error": f"{type(e).__name__}: {e}"}


expected = {}
for path in sorted(templates.glob("*.jinja")):
    source = path.read_text(encoding="utf-8")
    called = next(c for c in conversations if c["name"] == "tool called")
    objects = "text" in render(source, called, True) or "text" not in render(source, called, False)
    expected[path.name] = {c["name"]: render(source, c, objects) for c in conversations}
output.write_text(json.dumps(expected, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
print(len(expected), "templates,", len(conversations), "conversations")
