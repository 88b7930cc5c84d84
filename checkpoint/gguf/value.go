package gguf

import (
	"fmt"
	"math"
	"strconv"
)

// valueType is the type of a metadata value as the file numbers it
// (gguf.md, enum gguf_metadata_value_type).
type valueType uint32

const (
	typeUint8 valueType = iota
	typeInt8
	typeUint16
	typeInt16
	typeUint32
	typeInt32
	typeFloat32
	typeBool
	typeString
	typeArray
	typeUint64
	typeInt64
	typeFloat64
	numValueTypes
)

// widths are the sizes in bytes; strings and arrays have a length of their own.
var widths = [numValueTypes]int{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8}

// least is the smallest number of bytes that a value can take.
func (t valueType) least() int {
	switch t {
	case typeString:
		return 8 // the length
	case typeArray:
		return 12 // element type and length
	}
	return widths[t]
}

// value is where a metadata value stands in the file. It is decoded when asked
// for: a vocabulary costs nothing until somebody wants it.
type value struct {
	typ   valueType // of the value, or of an array's elements
	array bool
	n     int // elements of an array
	at    int // offset of the value; of an array's or string's first byte
	end   int
}

// value reads a value and checks all of it, whatever is nested in it.
func (c *cursor) value(what string) (value, error) {
	t, err := c.valueType(what + ": type")
	if err != nil {
		return value{}, err
	}
	switch t {
	case typeArray:
		return c.arrayOf(what, 1)
	case typeString:
		s, err := c.text(what, maxString)
		return value{typ: t, at: c.pos - len(s), end: c.pos}, err
	}
	v := value{typ: t, at: c.pos, end: c.pos + widths[t]}
	if c.left() < widths[t] {
		return v, c.truncated(what, uint64(widths[t]))
	}
	c.pos = v.end
	return v, c.checkBools(t, v.at, v.end, what)
}

func (c *cursor) valueType(what string) (valueType, error) {
	at := c.pos
	t, err := c.u32(what)
	if err != nil {
		return 0, err
	}
	if t >= uint32(numValueTypes) {
		return 0, c.fail(at, what, fmt.Sprintf("a value type from 0 to %d", numValueTypes-1), fmt.Sprint(t))
	}
	return valueType(t), nil
}

// arrayOf reads an array's element type and length and passes over its elements.
// depth is 1 for an array that is in no other.
func (c *cursor) arrayOf(what string, depth int) (value, error) {
	at := c.pos
	elem, err := c.valueType(what + ": element type")
	if err != nil {
		return value{}, err
	}
	if elem == typeArray && depth >= maxDepth {
		return value{}, c.fail(at, what, fmt.Sprintf("arrays nested at most %d deep", maxDepth), "one more level")
	}
	n, err := c.count(what+": number of elements", elem.least(), maxArray)
	if err != nil {
		return value{}, err
	}
	v := value{typ: elem, array: true, n: n, at: c.pos}
	switch elem {
	case typeString:
		for i := range n {
			// What follows is the fast path of text: vocabularies are long.
			if c.left() >= 8 {
				if size := le.Uint64(c.data[c.pos:]); size <= maxString && size <= uint64(c.left()-8) {
					c.pos += 8 + int(size)
					continue
				}
			}
			if _, err := c.text(what+"["+strconv.Itoa(i)+"]", maxString); err != nil {
				return v, err
			}
		}
	case typeArray:
		for range n {
			if _, err := c.arrayOf(what, depth+1); err != nil {
				return v, err
			}
		}
	default:
		c.pos += n * widths[elem]
		if err := c.checkBools(elem, v.at, c.pos, what); err != nil {
			return v, err
		}
	}
	v.end = c.pos
	return v, nil
}

func (c *cursor) checkBools(t valueType, from, to int, what string) error {
	if t != typeBool {
		return nil
	}
	for i, b := range c.data[from:to] {
		if b > 1 {
			return c.fail(from+i, what, "a bool, 0 or 1", fmt.Sprint(b))
		}
	}
	return nil
}

// integer decodes an integer that fits an int64; false for other types.
func (t valueType) integer(b []byte) (int64, bool) {
	switch t {
	case typeUint8:
		return int64(b[0]), true
	case typeInt8:
		return int64(int8(b[0])), true
	case typeUint16:
		return int64(le.Uint16(b)), true
	case typeInt16:
		return int64(int16(le.Uint16(b))), true
	case typeUint32:
		return int64(le.Uint32(b)), true
	case typeInt32:
		return int64(int32(le.Uint32(b))), true
	case typeUint64:
		v := le.Uint64(b)
		return int64(v), v <= math.MaxInt64
	case typeInt64:
		return int64(le.Uint64(b)), true
	}
	return 0, false
}

// float decodes a float or an integer; false for other types.
func (t valueType) float(b []byte) (float64, bool) {
	switch t {
	case typeFloat32:
		return float64(math.Float32frombits(le.Uint32(b))), true
	case typeFloat64:
		return math.Float64frombits(le.Uint64(b)), true
	case typeUint64:
		return float64(le.Uint64(b)), true
	}
	i, ok := t.integer(b)
	return float64(i), ok
}

func (t valueType) unsigned() bool {
	return t == typeUint8 || t == typeUint16 || t == typeUint32 || t == typeUint64
}

func (t valueType) isNumber() bool { return widths[t] > 0 && t != typeBool }

func (t valueType) isFloat() bool { return t == typeFloat32 || t == typeFloat64 }
