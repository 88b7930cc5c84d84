"""Renders the templates of cases.txt with transformers' Jinja environment.

    pip install transformers jinja2
    python generate.py
"""

import datetime
import json
import pathlib

from transformers.utils import chat_template_utils


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26, 9, 5, 3)


chat_template_utils.datetime = Clock
here = pathlib.Path(__file__).parent
variables = {
    "x": None,
    "t": True,
    "f": 1.5,
    "s": "naïve — it's",
    "u": 'a"b\n\té\u200b😀',
    "html": "<a & 'b'>",
    "big": 12345678901234567890,
    "l": [3, 1, 2],
    "m": {"b": 1, "a": "q'", "items": [1]},
    "recs": [{"n": "b", "v": 2, "d": {"k": 1}}, {"n": "A", "v": 1, "d": {"k": 0}}, {"n": "b", "v": 3}],
    "nested": {"a": [1, {"b": None, "c": [True, 1.0, 1e20, 1e-7, "ü<>"]}], "e": {}, "z": []},
}
cases = []
for source in (here / "cases.txt").read_bytes().decode().split("\n====\n"):
    case = {"source": source}
    try:
        case["text"] = chat_template_utils._compile_jinja_template(source).render(**variables)
    except Exception as e:
        case["error"] = f"{type(e).__name__}: {e}"
    cases.append(case)
(here / "cases.json").write_text(
    json.dumps({"variables": variables, "cases": cases}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
)
print(len(cases), "cases,", sum("error" in c for c in cases), "errors")
