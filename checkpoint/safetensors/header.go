package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/tensor"
)

// dtypes are the element types by the names that headers have for them.
var dtypes = func() map[string]tensor.Type {
	m := map[string]tensor.Type{}
	for _, t := range []tensor.Type{
		tensor.F32, tensor.F16, tensor.BF16, tensor.F64, tensor.I8, tensor.I16, tensor.I32, tensor.I64,
		tensor.Bool, tensor.U8, tensor.U16, tensor.U32, tensor.U64, tensor.C64,
		tensor.F8_E4M3, tensor.F8_E5M2, tensor.F8_E8M0, tensor.F8_E4M3FNUZ, tensor.F8_E5M2FNUZ,
		tensor.F6_E2M3, tensor.F6_E3M2, tensor.F4,
	} {
		m[t.String()] = t
	}
	return m
}()

// metadataKey is the one key that isn't a tensor: free text by key.
const metadataKey = "__metadata__"

// parseHeader reads the JSON, at most as many bytes as it has. Offsets are from the
// start of the data.
func parseHeader(text []byte) ([]checkpoint.Entry, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, jsonError(err, "it is not a JSON object")
	}
	var entries []checkpoint.Entry
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, jsonError(err, "")
		}
		name, _ := t.(string) // the decoder takes nothing else for a key
		if seen[name] {
			return nil, fmt.Errorf("tensor %q is there twice", name)
		}
		seen[name] = true
		if name == metadataKey {
			var ignored map[string]string
			if err := d.Decode(&ignored); err != nil {
				return nil, fmt.Errorf("%s: %w", metadataKey, err)
			}
			continue
		}
		if len(entries) == maxTensors {
			return nil, fmt.Errorf("more than %d tensors", maxTensors)
		}
		e, err := parseEntry(d, name)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		entries = append(entries, e)
	}
	if _, err := d.Token(); err != nil {
		return nil, jsonError(err, "")
	}
	// The format allows padding with spaces.
	if rest := bytes.TrimSpace(text[d.InputOffset():]); len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes follow the JSON", len(rest))
	}
	return entries, nil
}

// jsonError words a failure of the JSON decoder; without one it is what.
func jsonError(err error, what string) error {
	switch {
	case err == nil:
		return errors.New(what)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the JSON ends too early")
	}
	return err
}

func parseEntry(d *json.Decoder, name string) (checkpoint.Entry, error) {
	var raw struct {
		DType   *string
		Shape   *[]int64
		Offsets *[]int64 `json:"data_offsets"`
	}
	if err := d.Decode(&raw); err != nil {
		return checkpoint.Entry{}, err
	}
	if raw.DType == nil || raw.Shape == nil || raw.Offsets == nil {
		return checkpoint.Entry{}, errors.New("dtype, shape or data_offsets is missing")
	}
	typ, ok := dtypes[*raw.DType]
	if !ok {
		return checkpoint.Entry{}, fmt.Errorf("dtype %q isn't known", *raw.DType)
	}
	shape, err := checkShape(*raw.Shape)
	if err != nil {
		return checkpoint.Entry{}, err
	}
	o := *raw.Offsets
	if len(o) != 2 || o[0] < 0 || o[1] < o[0] {
		return checkpoint.Entry{}, fmt.Errorf("data_offsets %v: expected where the bytes begin and end", o)
	}
	e := checkpoint.Entry{Name: name, Type: typ, Shape: shape, Offset: o[0], Bytes: o[1] - o[0]}
	// checkShape bounded the product.
	elems, size := typ.Block()
	n := tensor.Tensor{Shape: shape}.Elems()
	if n%elems != 0 || int64(n/elems*size) != e.Bytes {
		return checkpoint.Entry{}, fmt.Errorf("shape %v of %s takes %d bytes, but data_offsets %v are of %d", shape, typ, (n+elems-1)/elems*size, o, e.Bytes)
	}
	return e, nil
}

// checkShape bounds the number of elements so that their bytes can be counted.
func checkShape(dims []int64) ([]int, error) {
	if len(dims) > maxDims {
		return nil, fmt.Errorf("%d dimensions, expected at most %d", len(dims), maxDims)
	}
	const maxElems = 1 << 48
	shape := make([]int, len(dims))
	n := uint64(1)
	for i, d := range dims {
		if d < 0 || d > maxElems {
			return nil, fmt.Errorf("shape %v: dimension %d is out of range", dims, i)
		}
		over, product := bits.Mul64(n, uint64(d))
		if over != 0 || product > maxElems {
			return nil, fmt.Errorf("shape %v: more than 2^48 elements", dims)
		}
		n = product
		shape[i] = int(d)
	}
	return shape, nil
}
