package npz

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/tensor"
)

const (
	magic     = "\x93NUMPY"
	maxHeader = 64 << 10
	maxDims   = 8
)

// dtypes are the element types by NumPy's names. V2, an opaque element of two
// bytes, is how MLX writes bfloat16.
var dtypes = map[string]tensor.Type{
	"<f4": tensor.F32, "<f2": tensor.F16, "<f8": tensor.F64, "<V2": tensor.BF16, "|V2": tensor.BF16,
	"|i1": tensor.I8, "<i2": tensor.I16, "<i4": tensor.I32, "<i8": tensor.I64, "|b1": tensor.Bool,
	"|u1": tensor.U8, "<u2": tensor.U16, "<u4": tensor.U32, "<u8": tensor.U64, "<c8": tensor.C64,
}

// parseArray reads an array's header: its type, shape and size, and where its
// elements begin.
func parseArray(b []byte) (e checkpoint.Entry, start int, err error) {
	const fixed = len(magic) + 2 // with the version
	if len(b) < fixed+4 || string(b[:len(magic)]) != magic {
		return e, 0, errors.New("it is not in .npy format")
	}
	var n int
	switch version := b[len(magic)]; version {
	case 1:
		n, start = int(binary.LittleEndian.Uint16(b[fixed:])), fixed+2
	case 2, 3:
		n, start = int(binary.LittleEndian.Uint32(b[fixed:])), fixed+4
	default:
		return e, 0, fmt.Errorf(".npy format of version %d isn't known", version)
	}
	if n > maxHeader || n > len(b)-start {
		return e, 0, fmt.Errorf("its header takes %d bytes, but there are %d, and at most %d may be", n, len(b)-start, maxHeader)
	}
	h, err := parseDict(string(b[start : start+n]))
	if err != nil {
		return e, 0, fmt.Errorf("header: %w", err)
	}
	start += n
	typ, ok := dtypes[h.descr]
	if !ok {
		return e, 0, fmt.Errorf("dtype %q isn't supported", h.descr)
	}
	if h.fortran && columns(h.shape) > 1 {
		return e, 0, fmt.Errorf("shape %v is stored column by column, which isn't supported: save it again in C order", h.shape)
	}
	_, size := typ.Block()
	elems := tensor.Tensor{Shape: h.shape}.Elems()
	if have := len(b) - start; elems*size != have {
		return e, 0, fmt.Errorf("shape %v of %s takes %d bytes, but there are %d", h.shape, typ, elems*size, have)
	}
	return checkpoint.Entry{Type: typ, Shape: h.shape, Bytes: int64(elems * size)}, start, nil
}

// columns is the number of dimensions that the order of elements depends on.
func columns(shape []int) int {
	n := 0
	for _, d := range shape {
		switch d {
		case 0:
			return 0 // there are no elements
		case 1:
		default:
			n++
		}
	}
	return n
}

// dict is an array's header.
type dict struct {
	descr   string
	fortran bool
	shape   []int
}

// parseDict reads a header: a Python dictionary with exactly the keys descr,
// fortran_order and shape, padded with white space.
func parseDict(text string) (dict, error) {
	var d dict
	s := strings.TrimSpace(text)
	s, ok := strings.CutPrefix(s, "{")
	if !ok {
		return d, fmt.Errorf("%q isn't a dictionary", cut(text))
	}
	found := map[string]bool{}
	for s = strings.TrimLeft(s, " "); !strings.HasPrefix(s, "}"); s = strings.TrimLeft(s, " ,") {
		key, rest, ok := quoted(s)
		if !ok || found[key] {
			return d, fmt.Errorf("expected another key at %q", cut(s))
		}
		found[key] = true
		rest, ok = strings.CutPrefix(strings.TrimLeft(rest, " "), ":")
		if !ok {
			return d, fmt.Errorf("expected a colon at %q", cut(rest))
		}
		s = strings.TrimLeft(rest, " ")
		var value string
		switch key {
		case "descr":
			if d.descr, s, ok = quoted(s); !ok {
				return d, fmt.Errorf("descr is %q, expected a plain element type", cut(rest))
			}
		case "fortran_order":
			value, s, _ = strings.Cut(s, ",")
			if value != "True" && value != "False" {
				return d, fmt.Errorf("fortran_order is %q", cut(value))
			}
			d.fortran = value == "True"
		case "shape":
			var err error
			if d.shape, s, err = tuple(s); err != nil {
				return d, err
			}
		default:
			return d, fmt.Errorf("unknown key %q", cut(key))
		}
	}
	if len(found) != 3 || strings.TrimSpace(s) != "}" {
		return d, errors.New("expected descr, fortran_order and shape, and nothing else")
	}
	return d, nil
}

// quoted takes a Python string without escapes off the front.
func quoted(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '\'' && s[0] != '"' {
		return "", s, false
	}
	text, rest, ok = strings.Cut(s[1:], s[:1])
	return text, rest, ok && !strings.Contains(text, `\`)
}

// tuple takes a tuple of dimensions off the front, and bounds their product.
func tuple(s string) ([]int, string, error) {
	text, rest, ok := strings.Cut(s, ")")
	inside, open := strings.CutPrefix(text, "(")
	if !ok || !open {
		return nil, "", fmt.Errorf("shape is %q, expected a tuple", cut(s))
	}
	const maxElems = 1 << 48
	shape := []int{}
	n := uint64(1)
	for field := range strings.SplitSeq(inside, ",") {
		field = strings.TrimSpace(field)
		if field == "" {
			continue // after the last comma
		}
		d, err := strconv.ParseUint(field, 10, 48)
		if err != nil || len(shape) == maxDims {
			return nil, "", fmt.Errorf("shape (%s): expected at most %d dimensions below 2^48", cut(inside), maxDims)
		}
		over, product := bits.Mul64(n, d)
		if over != 0 || product > maxElems {
			return nil, "", fmt.Errorf("shape (%s): more than 2^48 elements", cut(inside))
		}
		n = product
		shape = append(shape, int(d))
	}
	return shape, rest, nil
}

// cut shortens what a message quotes of a file.
func cut(s string) string { return s[:min(len(s), 60)] }
