package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// field is one setting of a section's struct, as its tags describe it.
type field struct {
	key, def, lo, hi, example string
	enum                      []string
	names                     []string // of the entries it is for; empty: all
	goName                    string
	index                     int
	typ                       reflect.Type
}

func fieldsOf(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		f := t.Field(i)
		key, ok := f.Tag.Lookup("key")
		if !ok {
			continue
		}
		d := field{key: key, def: f.Tag.Get("default"), example: f.Tag.Get("example"), goName: f.Name, index: i, typ: f.Type}
		d.lo, d.hi, _ = strings.Cut(f.Tag.Get("range"), "..")
		if e := f.Tag.Get("enum"); e != "" {
			d.enum = strings.Split(e, ",")
		}
		if e := f.Tag.Get("for"); e != "" {
			d.names = strings.Split(e, ",")
		}
		all = append(all, d)
	}
	return all
}

// isFor says whether the setting is one of the entry that v holds.
func (f field) isFor(v reflect.Value) bool {
	return len(f.names) == 0 || slices.Contains(f.names, v.FieldByName("Name").String())
}

var (
	typeSize     = reflect.TypeFor[Size]()
	typeDuration = reflect.TypeFor[time.Duration]()
	typeSecret   = reflect.TypeFor[Secret]()
)

// typeName is how the reference page calls a type.
func typeName(t reflect.Type) string {
	switch {
	case t == typeSize:
		return "size"
	case t == typeDuration:
		return "duration"
	case t == typeSecret:
		return "secret string"
	case t.Kind() == reflect.String:
		return "string"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "integer"
	case t.Kind() == reflect.Slice:
		return "list of " + plural(t.Elem())
	}
	return "section"
}

func plural(t reflect.Type) string {
	if t.Kind() == reflect.Struct {
		return "entries"
	}
	return typeName(t) + "s"
}

// setScalar parses text into v and checks it against the field's range and choices.
func (f field) setScalar(v reflect.Value, text string) error {
	var n int64 // the value, where it has an order
	switch {
	case v.Type() == typeSize:
		s, err := parseSize(text)
		if err != nil {
			return err
		}
		n = int64(s)
		v.SetInt(n)
	case v.Type() == typeDuration:
		d, err := parseDuration(text)
		if err != nil {
			return err
		}
		n = int64(d)
		v.SetInt(n)
	case v.Kind() == reflect.Int:
		i, err := parseInt(text)
		if err != nil {
			return err
		}
		n = i
		v.SetInt(n)
	case v.Kind() == reflect.Bool:
		b, err := parseBool(text)
		if err != nil {
			return err
		}
		v.SetBool(b)
	default:
		if len(f.enum) > 0 && text != "" && !slices.Contains(f.enum, text) {
			return fmt.Errorf("must be one of %s, not %s", strings.Join(f.enum, ", "), quote(text))
		}
		v.SetString(text)
	}
	if f.lo == "" {
		return nil
	}
	if lo, hi := bound(v.Type(), f.lo), bound(v.Type(), f.hi); n < lo || n > hi {
		return fmt.Errorf("must be between %s and %s, not %s", f.lo, f.hi, text)
	}
	return nil
}

// bound parses a range's end; the schema's own tags are tested to be sound.
func bound(t reflect.Type, text string) int64 {
	v := reflect.New(t).Elem()
	if err := (field{}).setScalar(v, text); err != nil {
		panic(err)
	}
	return v.Int()
}

// setDefaults fills a section's struct from the schema.
func setDefaults(v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		fv := v.Field(f.index)
		switch {
		case fv.Kind() == reflect.Struct:
			setDefaults(fv)
		case f.def != "":
			if err := f.setScalar(fv, f.def); err != nil {
				panic(fmt.Sprintf("config: the default of %s: %v", f.key, err))
			}
		}
	}
}

func newElement[T any]() T {
	var e T
	setDefaults(reflect.ValueOf(&e).Elem())
	return e
}

// Default is the configuration without file, environment and flags.
func Default() *Config {
	c := newElement[Config]()
	c.origins = map[string]origin{}
	return &c
}

// Key describes one setting for the reference page.
type Key struct {
	Path    string // "models[].id"
	Env     string // "INFERFLUX_MODELS_0_ID"
	Type    string // "integer"
	Default string // as it is written in YAML, "" for empty
	Allowed string // range or choices, "" for anything
	Example string // what config/server.yaml shows in a list's first entry
	Struct  string // the Go struct that holds it
	Field   string // and its field there
	Section bool   // a section, or a list of entries
	List    bool
}

// Keys lists every setting and section, in the order of the schema.
func Keys() []Key { return keysOf(reflect.TypeFor[Config](), "", "INFERFLUX") }

func keysOf(t reflect.Type, path, env string) []Key {
	var all []Key
	for _, f := range fieldsOf(t) {
		k := Key{Path: f.key, Env: env + "_" + strings.ToUpper(f.key), Type: typeName(f.typ), Default: f.def, Example: f.example, Struct: t.Name(), Field: f.goName}
		if path != "" {
			k.Path = path + "." + f.key
		}
		if f.lo != "" {
			k.Allowed = f.lo + " to " + f.hi
		}
		if len(f.enum) > 0 {
			k.Allowed = strings.Join(f.enum, ", ")
		}
		inner := f.typ
		subPath, subEnv := k.Path, k.Env
		if f.typ.Kind() == reflect.Slice {
			k.List, inner = true, f.typ.Elem()
			subPath, subEnv = subPath+"[]", subEnv+"_0"
		}
		k.Section = inner.Kind() == reflect.Struct
		all = append(all, k)
		if k.Section {
			all = append(all, keysOf(inner, subPath, subEnv)...)
		}
	}
	return all
}
