package gguf

import (
	"fmt"
	"math"
)

func appendString(b []byte, s string) []byte {
	return append(le.AppendUint64(b, uint64(len(s))), s...)
}

// encode turns a value into its type and bytes.
func encode(value any) (valueType, []byte, error) {
	switch v := value.(type) {
	case bool:
		return typeBool, appendBool(nil, v), nil
	case string:
		return typeString, appendString(nil, v), nil
	case int8:
		return typeInt8, []byte{byte(v)}, nil
	case int16:
		return typeInt16, le.AppendUint16(nil, uint16(v)), nil
	case int32:
		return typeInt32, le.AppendUint32(nil, uint32(v)), nil
	case int64:
		return typeInt64, le.AppendUint64(nil, uint64(v)), nil
	case int:
		return typeInt64, le.AppendUint64(nil, uint64(v)), nil
	case uint8:
		return typeUint8, []byte{v}, nil
	case uint16:
		return typeUint16, le.AppendUint16(nil, v), nil
	case uint32:
		return typeUint32, le.AppendUint32(nil, v), nil
	case uint64:
		return typeUint64, le.AppendUint64(nil, v), nil
	case float32:
		return typeFloat32, le.AppendUint32(nil, math.Float32bits(v)), nil
	case float64:
		return typeFloat64, le.AppendUint64(nil, math.Float64bits(v)), nil
	}
	b, err := encodeArray(value, 1)
	return typeArray, b, err
}

// encodeArray gives element type, length and elements of an array at the given
// depth of nesting, from 1.
func encodeArray(value any, depth int) ([]byte, error) {
	switch v := value.(type) {
	case []bool:
		return elements(typeBool, v, appendBool), nil
	case []string:
		return elements(typeString, v, appendString), nil
	case []int8:
		return elements(typeInt8, v, func(b []byte, x int8) []byte { return append(b, byte(x)) }), nil
	case []int16:
		return elements(typeInt16, v, func(b []byte, x int16) []byte { return le.AppendUint16(b, uint16(x)) }), nil
	case []int32:
		return elements(typeInt32, v, func(b []byte, x int32) []byte { return le.AppendUint32(b, uint32(x)) }), nil
	case []int64:
		return elements(typeInt64, v, func(b []byte, x int64) []byte { return le.AppendUint64(b, uint64(x)) }), nil
	case []int:
		return elements(typeInt64, v, func(b []byte, x int) []byte { return le.AppendUint64(b, uint64(x)) }), nil
	case []uint8:
		return elements(typeUint8, v, func(b []byte, x uint8) []byte { return append(b, x) }), nil
	case []uint16:
		return elements(typeUint16, v, le.AppendUint16), nil
	case []uint32:
		return elements(typeUint32, v, le.AppendUint32), nil
	case []uint64:
		return elements(typeUint64, v, le.AppendUint64), nil
	case []float32:
		return elements(typeFloat32, v, func(b []byte, x float32) []byte { return le.AppendUint32(b, math.Float32bits(x)) }), nil
	case []float64:
		return elements(typeFloat64, v, func(b []byte, x float64) []byte { return le.AppendUint64(b, math.Float64bits(x)) }), nil
	case []any:
		if depth >= maxDepth {
			return nil, fmt.Errorf("arrays are nested more than %d deep", maxDepth)
		}
		var failed error
		b := elements(typeArray, v, func(b []byte, x any) []byte {
			inner, err := encodeArray(x, depth+1)
			if err != nil {
				failed = err
			}
			return append(b, inner...)
		})
		return b, failed
	}
	return nil, fmt.Errorf("a %T can't be stored", value)
}

func elements[T any](t valueType, list []T, put func([]byte, T) []byte) []byte {
	b := le.AppendUint32(nil, uint32(t))
	b = le.AppendUint64(b, uint64(len(list)))
	for _, x := range list {
		b = put(b, x)
	}
	return b
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}
