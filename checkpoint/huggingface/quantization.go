package huggingface

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/tensor"
)

// packing is how a layer was quantized.
type packing struct {
	mode        string
	bits, group int
}

// quantization is what config.json says of it.
type quantization struct {
	present bool
	packing                    // of every layer
	layers  map[string]packing // but these
	plain   map[string]bool    // and these, which were left as they are
	blocks  bool               // OpenAI's MXFP4: X_blocks and X_scales are the matrix X
}

// of is how one layer was quantized.
func (q *quantization) of(layer string) (packing, error) {
	if !q.present {
		return packing{}, fmt.Errorf("it has scales, but %s says nothing of quantization", configName)
	}
	if q.plain[layer] {
		return packing{}, fmt.Errorf("it has scales, but %s says that it isn't quantized", configName)
	}
	if p, ok := q.layers[layer]; ok {
		return p, nil
	}
	return q.packing, nil
}

// readQuantization reads "quantization", as MLX writes it, or "quantization_config",
// which is a copy of it unless another program quantized the model.
func readQuantization(config []byte) (*quantization, error) {
	var raw struct {
		MLX   map[string]json.RawMessage `json:"quantization"`
		Other map[string]json.RawMessage `json:"quantization_config"`
	}
	if err := json.Unmarshal(config, &raw); err != nil {
		return nil, fmt.Errorf("quantization: %w", err)
	}
	members := raw.MLX
	if members == nil {
		members = raw.Other
		method, ok := members["quant_method"]
		if string(method) == `"mxfp4"` {
			return &quantization{blocks: true}, nil
		}
		if ok {
			return nil, fmt.Errorf("the model is quantized by %s, which isn't supported: use the original, one that MLX quantized, or a GGUF file", method)
		}
	}
	q := &quantization{layers: map[string]packing{}, plain: map[string]bool{}, present: members != nil}
	if !q.present {
		return q, nil
	}
	all, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("quantization: %w", err)
	}
	if q.packing, err = readPacking(all); err != nil {
		return nil, fmt.Errorf("quantization: %w", err)
	}
	for layer, value := range members {
		switch {
		case string(value) == "false":
			q.plain[layer] = true
		case value[0] == '{':
			if q.layers[layer], err = readPacking(value); err != nil {
				return nil, fmt.Errorf("quantization of %s: %w", layer, err)
			}
		}
	}
	return q, nil
}

// readPacking reads mode, bits and group_size; what is missing is MLX's default.
func readPacking(value json.RawMessage) (packing, error) {
	raw := struct {
		Mode  string `json:"mode"`
		Bits  int    `json:"bits"`
		Group int    `json:"group_size"`
	}{Mode: "affine"}
	if err := json.Unmarshal(value, &raw); err != nil {
		return packing{}, err
	}
	p, ok := map[string]packing{
		"affine": {"affine", 4, 64}, "mxfp4": {"mxfp4", 4, 32}, "mxfp8": {"mxfp8", 8, 32}, "nvfp4": {"nvfp4", 4, 16},
	}[raw.Mode]
	if !ok {
		return packing{}, fmt.Errorf("mode %q isn't known: affine, mxfp4, mxfp8 and nvfp4 are", raw.Mode)
	}
	if raw.Bits != 0 {
		p.bits = raw.Bits
	}
	if raw.Group != 0 {
		p.group = raw.Group
	}
	return p, nil
}

// join makes tensors of arrays: codes, scales and biases become one. All that is
// wrong is reported in one error.
func join(arrays []array, q *quantization) ([]stored, error) {
	byName := make(map[string]int, len(arrays))
	for i := range arrays {
		byName[arrays[i].Name] = i
	}
	find := func(name string) *array {
		if i, ok := byName[name]; ok {
			return &arrays[i]
		}
		return nil
	}
	// quantized finds the codes that an array belongs to.
	quantized := func(layer string) (codes, scales *array) {
		codes, scales = find(layer+".weight"), find(layer+".scales")
		if codes == nil || scales == nil || codes.Type != tensor.U32 {
			return nil, nil
		}
		return codes, scales
	}
	var all []stored
	var errs []error
	for _, a := range arrays {
		dot := strings.LastIndexByte(a.Name, '.')
		layer, leaf := a.Name[:max(dot, 0)], a.Name[dot+1:]
		if matrix, of, ok := blockArray(a.Name); ok && q.blocks && find(matrix+blockCodes) != nil && find(matrix+blockScales) != nil {
			if of == blockCodes {
				s, err := packBlocks(matrix, &a, find(matrix+blockScales))
				if err != nil {
					errs = append(errs, fmt.Errorf("tensor %q: %w", a.Name, err))
					continue
				}
				all = append(all, s)
			}
			continue
		}
		codes, scales := quantized(layer)
		if codes == nil || !slices.Contains([]string{"weight", "scales", "biases"}, leaf) {
			all = append(all, stored{entry: a.Entry, tensor: a.tensor(), arrays: []array{a}})
			continue
		}
		if leaf != "weight" {
			continue
		}
		s, err := pack(layer, q, codes, scales, find(layer+".biases"))
		if err != nil {
			errs = append(errs, fmt.Errorf("tensor %q: %w", a.Name, err))
			continue
		}
		all = append(all, s)
	}
	if more := len(errs) - maxListed; more > 0 {
		errs = append(errs[:maxListed], fmt.Errorf("and %d more", more))
	}
	return all, errors.Join(errs...)
}

// pack makes a quantized matrix of its arrays; biases may be nil.
func pack(layer string, q *quantization, codes, scales, biases *array) (stored, error) {
	p, err := q.of(layer)
	if err != nil {
		return stored{}, err
	}
	if len(codes.Shape) < 2 || p.bits < 1 || p.group < 1 {
		return stored{}, fmt.Errorf("codes of the shape %v in %d bits and groups of %d are not a quantized matrix", codes.Shape, p.bits, p.group)
	}
	packed := tensor.Packed{Mode: p.mode, Bits: p.bits, Group: p.group, Scales: scales.tensor()}
	beside := []checkpoint.Entry{scales.Entry}
	made := stored{arrays: []array{*codes, *scales}}
	if biases != nil {
		packed.Biases = biases.tensor()
		beside = append(beside, biases.Entry)
		made.arrays = append(made.arrays, *biases)
	}
	const wordBits = 32
	shape := slices.Clone(codes.Shape)
	shape[len(shape)-1] = shape[len(shape)-1] * wordBits / p.bits
	if made.tensor, err = tensor.NewPacked(codes.Name, shape, codes.file.Data(codes.index), packed); err != nil {
		return stored{}, fmt.Errorf("%s says %s in %d bits and groups of %d: %w", configName, p.mode, p.bits, p.group, err)
	}
	made.entry = codes.Entry
	made.entry.Type, made.entry.Shape = made.tensor.Type, shape
	made.entry.Bits, made.entry.Group, made.entry.Beside = p.bits, p.group, beside
	return made, nil
}

// The arrays of a matrix in OpenAI's MXFP4.
const blockCodes, blockScales = "_blocks", "_scales"

// blockArray is the matrix that an array's name says it is of, and which of its arrays.
func blockArray(name string) (matrix, of string, ok bool) {
	for _, of := range []string{blockCodes, blockScales} {
		if matrix, ok := strings.CutSuffix(name, of); ok {
			return matrix, of, true
		}
	}
	return "", "", false
}

// packBlocks makes a matrix [..., out, in] of OpenAI's arrays: codes [..., out, in/32, 16], two
// in a byte, the lower one first, and scales [..., out, in/32]. The bytes are those of MLX's mode.
func packBlocks(name string, codes, scales *array) (stored, error) {
	const group, groupBytes = 32, 16
	n := len(codes.Shape)
	if n < 3 || codes.Type != tensor.U8 || codes.Shape[n-1] != groupBytes || codes.Shape[n-2] > math.MaxInt/group {
		return stored{}, fmt.Errorf("%s of the shape %v are not blocks of %d bytes", codes.Type, codes.Shape, groupBytes)
	}
	shape := slices.Clone(codes.Shape[:n-1])
	shape[n-2] *= group
	packed := tensor.Packed{Mode: tensor.MLXMXFP4.String(), Bits: 4, Group: group, Scales: scales.tensor()}
	t, err := tensor.NewPacked(name, shape, codes.file.Data(codes.index), packed)
	if err != nil {
		return stored{}, err
	}
	made := stored{entry: codes.Entry, tensor: t, arrays: []array{*codes, *scales}}
	made.entry.Name, made.entry.Type, made.entry.Shape = name, t.Type, shape
	made.entry.Bits, made.entry.Group, made.entry.Beside = packed.Bits, group, []checkpoint.Entry{scales.Entry}
	return made, nil
}
