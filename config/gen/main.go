// Command gen writes docs/Configuration.md and config/server.yaml from the
// schema in package config: keys, types, defaults and ranges from the structs'
// tags, explanations from their comments. Run it with go generate ./config.
package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/inferflux/inferflux/config"
)

func main() {
	log.SetFlags(0)
	// go generate runs this in the package's folder.
	files, err := generate("config.go")
	if err != nil {
		log.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join("..", name), []byte(content), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

// generate returns the generated files' contents by path from the repository's root.
func generate(schema string) (map[string]string, error) {
	docs, err := comments(schema)
	if err != nil {
		return nil, err
	}
	keys := config.Keys()
	for _, k := range keys {
		if docs[k.Struct+"."+k.Field] == "" {
			return nil, fmt.Errorf("%s: %s.%s has no comment", schema, k.Struct, k.Field)
		}
	}
	return map[string]string{
		"docs/Configuration.md": page(keys, docs),
		"config/server.yaml":    example(keys, docs),
	}, nil
}

// comments collects the comments of struct fields, by "Struct.Field", each as one line.
func comments(path string) (map[string]string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	docs := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		t, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := t.Type.(*ast.StructType); ok {
			for _, field := range s.Fields.List {
				for _, name := range field.Names {
					docs[t.Name.Name+"."+name.Name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
				}
			}
		}
		return false
	})
	return docs, nil
}

const header = `# Configuration

<!-- Written by "go generate ./config" from the schema in config/config.go: change it there. -->

Every setting has a key and gets its value from, in rising order of precedence:

1. its default,
2. the YAML file given by ` + "`--config`" + ` ([config/server.yaml](../config/server.yaml) shows every key with its default),
3. its environment variable,
4. the command line (` + "`--listen`, `--model`, `--log-level`" + `).

A broken configuration stops the start with exit code 2. All problems are listed at once, each with its place: unknown keys (with the one
that was probably meant), keys set twice, wrong types, values out of range, contradictions. ` + "`inferfluxd --print-config`" + ` shows what is in
force and where it came from; secrets are never shown.

## Writing values

- A **duration** has its unit: ` + "`500ms`, `30s`, `2m`, `1h`" + `.
- A **size** is a number of bytes, or has a unit: ` + "`512KiB`, `10MiB`, `1GB`" + `.
- A key without a value keeps its default.
- YAML anchors, aliases, merge keys and several documents in one file are refused. A file has at most 1 MiB.

## Environment variables

A key's variable is ` + "`INFERFLUX_`" + ` and the key in capitals, with underscores for dots. An entry of a list is named by its index, counted from 0:
` + "`INFERFLUX_MODELS_0_SOURCE`" + `; the index after the last adds an entry. A list of plain values can also be set as a whole, with commas:
` + "`INFERFLUX_RUNTIME_BACKEND_PRIORITY=mlx,cpu`" + `.

A variable that begins with a section's name (` + "`INFERFLUX_SERVER_`, `INFERFLUX_MODELS_`, `INFERFLUX_RUNTIME_`, `INFERFLUX_LOGGING_`" + `) but names no
setting is an error. Any other unknown ` + "`INFERFLUX_`" + ` variable gives a warning. What Kubernetes sets for a service (` + "`INFERFLUX_SERVICE_HOST`" + ` and the
like) is left alone.

` + "`ENABLE_MLX`, `ENABLE_CUDA`, `ENABLE_ROCM` and `ENABLE_MPS`" + ` switch a backend on (` + "`1`, `true`, `on`, `yes`" + `) or off (` + "`0`, `false`, `off`, `no`" + `), whatever
` + "`runtime.backends[].enabled`" + ` says; any other value is an error. These variables belong to other parts of the program:

| variable | what it is |
|---|---|
| ` + "`INFERFLUX_HOME`" + ` | the folder for models and state, instead of ` + "`~/.inferflux`" + ` |
| ` + "`INFERFLUX_CONFIG`" + ` | the configuration file, as ` + "`--config`" + ` |
| ` + "`INFERFLUX_SERVER`, `INFERFLUX_API_KEY`" + ` | the server that ` + "`inferctl`" + ` talks to, and the key it sends |
| ` + "`INFERFLUX_SIMD`" + ` | the instruction set of the CPU engine, to try a lower one than the machine has |
| ` + "`MLX_C_ROOT`" + ` | a genuine mlx-c for the mlx backend: a folder with ` + "`lib/libmlxc.so`" + ` (or ` + "`.dylib`" + `) |
| ` + "`INFERFLUX_EMBED_MLXC`" + ` | ` + "`0`" + `: ` + "`inferctl backends install mlx`" + ` compiles nothing and records the mlx-c that is there ([Installer.md](Installer.md)) |
| ` + "`INFERFLUX_TEST_…`" + ` | settings of the tests |
`

func page(keys []config.Key, docs map[string]string) string {
	var b strings.Builder
	b.WriteString(header)
	for _, k := range keys {
		doc := docs[k.Struct+"."+k.Field]
		if k.Section {
			fmt.Fprintf(&b, "\n## `%s`\n\n%s", k.Path, doc)
			if k.List {
				b.WriteString(" A list of entries.")
			}
			b.WriteString("\n")
			if !hasSettings(keys, k) {
				continue
			}
			b.WriteString("\n| key | type | default | meaning |\n|---|---|---|---|\n")
			for _, s := range keys {
				if !s.Section && isIn(s, k) {
					row(&b, s, docs[s.Struct+"."+s.Field])
				}
			}
		}
	}
	b.WriteString("\n## All environment variables\n\n| variable | key |\n|---|---|\n")
	for _, k := range keys {
		if !k.Section {
			fmt.Fprintf(&b, "| `%s` | `%s` |\n", k.Env, k.Path)
		}
	}
	return b.String()
}

// isIn says whether a setting stands directly in a section.
func isIn(s, section config.Key) bool {
	parent := section.Path
	if section.List {
		parent += "[]"
	}
	name, ok := strings.CutPrefix(s.Path, parent+".")
	return ok && !strings.Contains(name, ".")
}

func hasSettings(keys []config.Key, section config.Key) bool {
	for _, k := range keys {
		if !k.Section && isIn(k, section) {
			return true
		}
	}
	return false
}

func row(b *strings.Builder, k config.Key, doc string) {
	if k.Allowed != "" {
		doc += " (" + k.Allowed + ")"
	}
	def := ""
	if k.Default != "" {
		def = "`" + k.Default + "`"
	}
	fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", k.Path, k.Type, def, strings.ReplaceAll(doc, "|", `\|`))
}

// example writes config/server.yaml. Settings of a list's entries are shown
// commented out, except those that the schema gives an example for.
func example(keys []config.Key, docs map[string]string) string {
	var b strings.Builder
	b.WriteString("# InferFlux's configuration, every key with its default. Use it with\n#   inferctl serve --config server.yaml\n# docs/Configuration.md explains how values are written and which environment\n# variables override them.\n")
	firstOfEntry := false
	for _, k := range keys {
		depth := strings.Count(k.Path, ".") + strings.Count(k.Path, "[]")
		indent := strings.Repeat("  ", depth)
		name := k.Path[strings.LastIndexByte(k.Path, '.')+1:]
		inList := strings.Contains(k.Path, "[]")
		if !firstOfEntry {
			b.WriteString("\n")
		}
		if firstOfEntry {
			// The dash stands on a line of its own, so that any key may come first.
			fmt.Fprintf(&b, "%s-\n", indent[:len(indent)-2])
			firstOfEntry = false
		}
		for _, line := range wrap(describe(k, docs[k.Struct+"."+k.Field]), 96-len(indent)) {
			fmt.Fprintf(&b, "%s# %s\n", indent, line)
		}
		switch {
		case k.Section:
			fmt.Fprintf(&b, "%s%s:\n", indent, name)
			firstOfEntry = k.List
		case k.Example != "":
			fmt.Fprintf(&b, "%s%s: %s\n", indent, name, config.FormatYAML(k.Example))
		case inList:
			fmt.Fprintf(&b, "%s# %s: %s\n", indent, name, value(k))
		default:
			fmt.Fprintf(&b, "%s%s: %s\n", indent, name, value(k))
		}
	}
	return b.String()
}

func describe(k config.Key, doc string) string {
	if k.Allowed != "" {
		return doc + " (" + k.Allowed + ")"
	}
	return doc
}

func value(k config.Key) string {
	if k.List {
		return "[]"
	}
	return cmp.Or(k.Default, `""`)
}

// wrap breaks text into lines of at most the given width.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
