#!/usr/bin/env python3
"""Writes suite.json: the cases of the JSON Schema Test Suite, draft 2020-12, as a table.

Usage: suite.py FOLDER > suite.json, FOLDER being a checkout of
https://github.com/json-schema-org/JSON-Schema-Test-Suite (MIT licence).

Left out are what other documents are needed for, and of the formats those that we don't know.
Each entry: [file, description, schema, [[instance, valid], ...]].
"""
import json, pathlib, sys

FORMATS = "date time date-time duration ipv4 ipv6 uuid email hostname uri json-pointer idn-email idn-hostname iri iri-reference regex relative-json-pointer uri-reference uri-template".split()
OPTIONAL = ["ecmascript-regex", "bignum", "non-bmp-regex", "float-overflow", "dependencies-compatibility"]

root = pathlib.Path(sys.argv[1]) / "tests" / "draft2020-12"
files = sorted(root.glob("*.json"))
files += [root / "optional" / f"{n}.json" for n in OPTIONAL]
files += [root / "optional" / "format" / f"{n}.json" for n in FORMATS]
out = []
for file in files:
    if file == root / "format.json" or file.name == "vocabulary.json":
        continue  # there formats are annotations only, and keywords change their meaning
    for group in json.loads(file.read_text()):
        schema = group["schema"]
        if isinstance(schema, dict):
            schema.pop("$schema", None)
        tests = [[t["data"], t["valid"]] for t in group["tests"]]
        if len(json.dumps(tests)) < 20000:
            out.append([str(file.relative_to(root))[:-5], group["description"], schema, tests])
print("[" + ",\n".join(json.dumps(e, separators=(",", ":"), ensure_ascii=False) for e in out) + "]")
