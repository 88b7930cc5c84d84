package huggingface

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/inferflux/inferflux/checkpoint"
)

// metadata implements checkpoint.Metadata over config.json.
type metadata struct {
	keys   []string
	values map[string]any
}

var _ checkpoint.Metadata = (*metadata)(nil)

// readConfig reads config.json, which every model has.
func readConfig(dir string) ([]byte, *metadata, error) {
	data, err := checkpoint.ReadFile(filepath.Join(dir, configName), maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("it has no %s, which says what the model is: download it too: %w", configName, fs.ErrNotExist)
	}
	if err != nil {
		return nil, nil, err
	}
	m := &metadata{values: map[string]any{}}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, fmt.Errorf("%s is not a JSON object", configName)
	}
	err = m.object(d, "", 0)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, nil, fmt.Errorf("%s ends in the middle of a value: download it again", configName)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", configName, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("%s: more text after the end", configName)
	}
	return data, m, nil
}

// Bounds on what a configuration may cost beyond its own size: keys lengthen with
// the depth of their objects.
const (
	maxDepth = 16
	maxKeys  = 1 << 17
	maxKey   = 512 // bytes, with those of the objects around it
)

// object reads the members of an object whose brace was read. Their keys begin with
// prefix.
func (m *metadata) object(d *json.Decoder, prefix string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("objects nested more than %d deep", maxDepth)
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string) // the decoder takes nothing else for a key
		if err := m.member(d, prefix+key, depth); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

func (m *metadata) member(d *json.Decoder, key string, depth int) error {
	if len(key) > maxKey || len(m.keys) == maxKeys {
		return fmt.Errorf("more than %d keys, or one of more than %d bytes", maxKeys, maxKey)
	}
	t, err := d.Token()
	if err != nil {
		return err
	}
	switch t {
	case json.Delim('{'):
		return m.object(d, key+".", depth+1)
	case json.Delim('['):
		list, err := readList(d, depth+1)
		if err != nil {
			return err
		}
		m.set(key, uniform(list))
	default:
		m.set(key, scalar(t))
	}
	return nil
}

// set keeps the last value of a key that is there twice, as Python does.
func (m *metadata) set(key string, v any) {
	if _, ok := m.values[key]; !ok {
		m.keys = append(m.keys, key)
	}
	m.values[key] = v
}

// readList reads the rest of a list. Objects in it have no key to be found by: they
// become nil.
func readList(d *json.Decoder, depth int) ([]any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("lists nested more than %d deep", maxDepth)
	}
	list := []any{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch t {
		case json.Delim('{'):
			lost := metadata{values: map[string]any{}}
			if err := lost.object(d, "", depth+1); err != nil {
				return nil, err
			}
			list = append(list, nil)
		case json.Delim('['):
			inner, err := readList(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, uniform(inner))
		default:
			list = append(list, scalar(t))
		}
	}
	_, err := d.Token()
	return list, err
}

// scalar is a value as Metadata gives it. Numbers without a fraction are integers if
// they fit.
func scalar(t json.Token) any {
	n, ok := t.(json.Number)
	if !ok {
		return t
	}
	if i, err := n.Int64(); err == nil {
		return i
	}
	if u, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
		return u
	}
	f, err := n.Float64()
	if err != nil {
		return nil // out of range
	}
	return f
}

// uniform is a list as a slice of one type, if its elements are of one; integers
// among fractions are numbers too.
func uniform(list []any) any {
	if s, ok := sliceOf[string](list); ok && len(list) > 0 {
		return s
	}
	if s, ok := sliceOf[bool](list); ok && len(list) > 0 {
		return s
	}
	if s, ok := sliceOf[int64](list); ok {
		return s
	}
	floats := make([]float64, len(list))
	for i, v := range list {
		f, ok := number(v)
		if !ok {
			return list
		}
		floats[i] = f
	}
	return floats
}

func sliceOf[T any](list []any) ([]T, bool) {
	s := make([]T, len(list))
	for i, v := range list {
		var ok bool
		if s[i], ok = v.(T); !ok {
			return nil, false
		}
	}
	return s, true
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	}
	return 0, false
}

// Keys are in the order of the file. It is a copy.
func (m *metadata) Keys() []string { return slices.Clone(m.keys) }

// Value is nil for JSON's null.
func (m *metadata) Value(key string) (any, bool) {
	v, ok := m.values[key]
	return v, ok
}

func (m *metadata) String(key string) (string, bool) { return get[string](m, key) }

func (m *metadata) Bool(key string) (bool, bool) { return get[bool](m, key) }

func (m *metadata) Int(key string) (int, bool) {
	v, ok := get[int64](m, key)
	return int(v), ok && int64(int(v)) == v
}

func (m *metadata) Float(key string) (float64, bool) { return number(m.values[key]) }

func (m *metadata) Strings(key string) ([]string, bool) { return get[[]string](m, key) }

func (m *metadata) Ints(key string) ([]int, bool) {
	list, ok := get[[]int64](m, key)
	if !ok {
		return nil, false
	}
	ints := make([]int, len(list))
	for i, v := range list {
		if ints[i] = int(v); int64(ints[i]) != v {
			return nil, false
		}
	}
	return ints, true
}

func (m *metadata) Floats(key string) ([]float64, bool) {
	if list, ok := get[[]float64](m, key); ok {
		return list, true
	}
	list, ok := get[[]int64](m, key)
	floats := make([]float64, len(list))
	for i, v := range list {
		floats[i] = float64(v)
	}
	return floats, ok
}

func get[T any](m *metadata, key string) (T, bool) {
	v, ok := m.values[key].(T)
	return v, ok
}
