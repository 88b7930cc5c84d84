package gguf

import (
	"slices"
	"sync/atomic"

	"github.com/inferflux/inferflux/checkpoint"
)

// metadata implements checkpoint.Metadata over the header of a mapped file. All
// lengths in it were checked when the file was opened.
type metadata struct {
	data   []byte // the file up to the end of its header
	keys   []string
	values map[string]value
	closed *atomic.Bool // the mapping is gone
}

var _ checkpoint.Metadata = (*metadata)(nil)

// Keys are a copy.
func (m *metadata) Keys() []string { return slices.Clone(m.keys) }

func (m *metadata) find(key string, array bool) (value, bool) {
	v, ok := m.values[key]
	return v, ok && v.array == array && !m.closed.Load()
}

func (m *metadata) String(key string) (string, bool) {
	v, ok := m.find(key, false)
	if !ok || v.typ != typeString {
		return "", false
	}
	return string(m.data[v.at:v.end]), true
}

func (m *metadata) Bool(key string) (bool, bool) {
	v, ok := m.find(key, false)
	if !ok || v.typ != typeBool {
		return false, false
	}
	return m.data[v.at] == 1, true
}

func (m *metadata) Int(key string) (int, bool) {
	v, ok := m.find(key, false)
	if !ok {
		return 0, false
	}
	i, ok := v.typ.integer(m.data[v.at:])
	if !ok || int64(int(i)) != i {
		return 0, false
	}
	return int(i), true
}

func (m *metadata) Float(key string) (float64, bool) {
	v, ok := m.find(key, false)
	if !ok {
		return 0, false
	}
	return v.typ.float(m.data[v.at:])
}

// Strings makes the strings of one copy of the array, so that a vocabulary
// takes two allocations. Each call makes a new one: keep the result.
func (m *metadata) Strings(key string) ([]string, bool) {
	v, ok := m.find(key, true)
	if !ok || v.typ != typeString {
		return nil, false
	}
	return m.strings(v), true
}

func (m *metadata) strings(v value) []string {
	all := string(m.data[v.at:v.end])
	list := make([]string, v.n)
	pos := 0
	for i := range list {
		size := int(le.Uint64(m.data[v.at+pos:]))
		list[i] = all[pos+8 : pos+8+size]
		pos += 8 + size
	}
	return list
}

func (m *metadata) Ints(key string) ([]int, bool) {
	v, ok := m.find(key, true)
	if !ok || !v.typ.isNumber() || v.typ.isFloat() {
		return nil, false
	}
	list := make([]int, v.n)
	for i := range list {
		n, ok := v.typ.integer(m.data[v.at+i*widths[v.typ]:])
		if !ok || int64(int(n)) != n {
			return nil, false
		}
		list[i] = int(n)
	}
	return list, true
}

func (m *metadata) Floats(key string) ([]float64, bool) {
	v, ok := m.find(key, true)
	if !ok || !v.typ.isNumber() {
		return nil, false
	}
	return m.floats(v), true
}

func (m *metadata) floats(v value) []float64 {
	list := make([]float64, v.n)
	for i := range list {
		list[i], _ = v.typ.float(m.data[v.at+i*widths[v.typ]:])
	}
	return list
}

// Value decodes what is stored: string, bool, uint64, int64 or float64 (all
// widths widened), or a slice of one of these; an array of arrays is a []any of
// such slices.
func (m *metadata) Value(key string) (any, bool) {
	v, ok := m.values[key]
	if !ok || m.closed.Load() {
		return nil, false
	}
	if v.array {
		return m.list(v), true
	}
	b := m.data[v.at:v.end]
	switch {
	case v.typ == typeString:
		return string(b), true
	case v.typ == typeBool:
		return b[0] == 1, true
	case v.typ.isFloat():
		f, _ := v.typ.float(b)
		return f, true
	}
	i, _ := v.typ.integer(b)
	if v.typ.unsigned() {
		return uint64(i), true
	}
	return i, true
}

// list decodes an array.
func (m *metadata) list(v value) any {
	width := widths[v.typ]
	switch {
	case v.typ == typeString:
		return m.strings(v)
	case v.typ == typeArray:
		list := make([]any, v.n)
		c := cursor{data: m.data, pos: v.at}
		for i := range list {
			inner, _ := c.arrayOf("", 1) // it was checked before
			list[i] = m.list(inner)
		}
		return list
	case v.typ == typeBool:
		list := make([]bool, v.n)
		for i := range list {
			list[i] = m.data[v.at+i] == 1
		}
		return list
	case v.typ.isFloat():
		return m.floats(v)
	case v.typ.unsigned():
		list := make([]uint64, v.n)
		for i := range list {
			n, _ := v.typ.integer(m.data[v.at+i*width:])
			list[i] = uint64(n)
		}
		return list
	}
	list := make([]int64, v.n)
	for i := range list {
		list[i], _ = v.typ.integer(m.data[v.at+i*width:])
	}
	return list
}
