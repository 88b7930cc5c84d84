package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// decoder copies a YAML tree into a Config and notes everything that doesn't fit.
type decoder struct {
	file     string
	origins  map[string]origin
	problems Problems
}

func (d *decoder) at(n *yaml.Node) origin {
	return origin{file: d.file, line: n.Line, column: n.Column}
}

// section reads a mapping into a struct.
func (d *decoder) section(n *yaml.Node, v reflect.Value, path string) {
	if isNull(n) {
		return // "models:" with everything under it commented out
	}
	if n.Kind != yaml.MappingNode {
		d.problems.add(d.at(n), path, "must be a section with keys of its own, not %s", describe(n))
		return
	}
	fields := fieldsOf(v.Type())
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			d.problems.add(d.at(k), path, "a key must be a word, not %s", describe(k))
			continue
		}
		key := join(path, k.Value)
		if k.Value == "<<" {
			d.problems.add(d.at(k), path, "merge keys (<<) aren't supported: write the keys out")
			continue
		}
		if first, ok := seen[k.Value]; ok {
			d.problems.add(d.at(k), key, "is already set in line %d", first)
			continue
		}
		seen[k.Value] = k.Line
		f, ok := find(fields, k.Value)
		if !ok {
			d.problems.add(d.at(k), key, "unknown key%s", suggest(path, k.Value, fields))
			continue
		}
		d.origins[key] = d.at(value)
		d.value(value, f, v.Field(f.index), key)
	}
}

// value reads a node into a field: a section, a list, or a scalar.
func (d *decoder) value(n *yaml.Node, f field, v reflect.Value, path string) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.problems.add(d.at(n), path, "anchors and aliases (& and *) aren't supported: write the value out")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.section(n, v, path)
	case reflect.Slice:
		d.list(n, f, v, path)
	default:
		d.scalar(n, f, v, path)
	}
}

func (d *decoder) list(n *yaml.Node, f field, v reflect.Value, path string) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.problems.add(d.at(n), path, "must be a %s, not %s", typeName(f.typ), describe(n))
		return
	}
	for i, item := range n.Content {
		e := appendElement(v)
		key := fmt.Sprintf("%s[%d]", path, i)
		d.origins[key] = d.at(item)
		if e.Kind() == reflect.Struct && isNull(item) {
			d.problems.add(d.at(item), key, "is an empty entry")
			continue
		}
		d.value(item, f, e, key)
	}
}

func (d *decoder) scalar(n *yaml.Node, f field, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.problems.add(d.at(n), path, "must be %s, not %s", article(typeName(v.Type())), describe(n))
		return
	}
	if isNull(n) {
		if v.Type() == f.typ {
			return // a key without a value keeps its default
		}
		d.problems.add(d.at(n), path, "is an empty entry")
		return
	}
	if !fits(n.ShortTag(), v) {
		if v.Type() == typeSecret {
			d.problems.add(d.at(n), path, "must be a string; put it in quotes")
			return
		}
		hint := ""
		if v.Kind() == reflect.String {
			hint = fmt.Sprintf("; put it in quotes: %q", n.Value)
		}
		d.problems.add(d.at(n), path, "must be %s, not %s%s", article(typeName(v.Type())), describe(n), hint)
		return
	}
	if err := f.setScalar(v, n.Value); err != nil {
		d.problems.add(d.at(n), path, "%v", err)
	}
}

// fits says whether a YAML scalar's type may be read into v.
func fits(tag string, v reflect.Value) bool {
	switch {
	case v.Type() == typeSize:
		return tag == "!!int" || tag == "!!str"
	case v.Type() == typeDuration, v.Kind() == reflect.String:
		return tag == "!!str"
	case v.Kind() == reflect.Bool:
		return tag == "!!bool"
	default:
		return tag == "!!int"
	}
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a section"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	kinds := map[string]string{"!!str": "the string", "!!int": "the integer", "!!float": "the number", "!!bool": "the boolean", "!!timestamp": "the date", "!!null": "an empty value"}
	kind, ok := kinds[n.ShortTag()]
	switch {
	case !ok:
		return "a value tagged " + quote(n.Tag)
	case n.ShortTag() == "!!null":
		return kind
	case n.ShortTag() == "!!str":
		return kind + " " + quote(n.Value)
	}
	return kind + " " + strings.Trim(quote(n.Value), `"`)
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && n.Anchor == ""
}

func article(noun string) string {
	switch noun {
	case "true or false":
		return noun
	case "integer":
		return "an integer"
	case "duration":
		return "a duration with its unit (30s)"
	case "size":
		return "a size (10MiB)"
	}
	return "a " + noun
}

func find(fields []field, key string) (field, bool) {
	for _, f := range fields {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

// suggest names the key that was probably meant: one beside it with a similar
// name, or one of the same name elsewhere.
func suggest(path, key string, fields []field) string {
	var names []string
	for _, f := range fields {
		names = append(names, f.key)
	}
	if n := nearest(key, names); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	for _, k := range Keys() {
		if strings.HasSuffix(k.Path, "."+key) || k.Path == key {
			return fmt.Sprintf("; did you mean %s?", k.Path)
		}
	}
	if path == "" {
		return "; the sections are " + strings.Join(names, ", ")
	}
	return ""
}

func join(path, key string) string {
	if len(key) > 60 {
		key = key[:60] + "…"
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// appendElement lengthens a list by one element with its defaults.
func appendElement(list reflect.Value) reflect.Value {
	list.Set(reflect.Append(list, reflect.Zero(list.Type().Elem())))
	e := list.Index(list.Len() - 1)
	if e.Kind() == reflect.Struct {
		setDefaults(e)
	}
	return e
}
