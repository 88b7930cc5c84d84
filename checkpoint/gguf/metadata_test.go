package gguf_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/checkpoint/gguf"
)

// TestGetters reads each value by every getter; what isn't listed must be
// absent.
func TestGetters(t *testing.T) {
	type result struct {
		Value   any
		String  string
		Bool    bool
		Int     int
		Float   float64
		Strings []string
		Ints    []int
		Floats  []float64
	}
	tests := []struct {
		key   string
		store any
		want  result
		found string // the getters, by initial: S B I F, s i f for slices
	}{
		{"string", "x", result{Value: "x", String: "x"}, "S"},
		{"empty string", "", result{Value: ""}, "S"},
		{"true", true, result{Value: true, Bool: true}, "B"},
		{"false", false, result{Value: false}, "B"},
		{"u8", uint8(200), result{Value: uint64(200), Int: 200, Float: 200}, "IF"},
		{"i8", int8(-100), result{Value: int64(-100), Int: -100, Float: -100}, "IF"},
		{"u16", uint16(65535), result{Value: uint64(65535), Int: 65535, Float: 65535}, "IF"},
		{"i16", int16(-3), result{Value: int64(-3), Int: -3, Float: -3}, "IF"},
		{"u32", uint32(math.MaxInt32), result{Value: uint64(math.MaxInt32), Int: math.MaxInt32, Float: math.MaxInt32}, "IF"},
		{"i32", int32(math.MinInt32), result{Value: int64(math.MinInt32), Int: math.MinInt32, Float: math.MinInt32}, "IF"},
		{"u64", uint64(7), result{Value: uint64(7), Int: 7, Float: 7}, "IF"},
		{"u64 too big", uint64(math.MaxUint64), result{Value: uint64(math.MaxUint64), Float: math.MaxUint64}, "F"},
		{"i64", int64(-7), result{Value: int64(-7), Int: -7, Float: -7}, "IF"},
		{"int", 12, result{Value: int64(12), Int: 12, Float: 12}, "IF"},
		{"f32", float32(0.1), result{Value: float64(float32(0.1)), Float: float64(float32(0.1))}, "F"},
		{"f64", 0.1, result{Value: 0.1, Float: 0.1}, "F"},
		{"whole float", 3.0, result{Value: 3.0, Float: 3}, "F"},
		{"strings", []string{"a", "", "ü"}, result{Value: []string{"a", "", "ü"}, Strings: []string{"a", "", "ü"}}, "s"},
		{"no strings", []string{}, result{Value: []string{}, Strings: []string{}}, "s"},
		{"bools", []bool{true, false}, result{Value: []bool{true, false}}, ""},
		{"u8s", []uint8{1, 255}, result{Value: []uint64{1, 255}, Ints: []int{1, 255}, Floats: []float64{1, 255}}, "if"},
		{"i8s", []int8{1, -1}, result{Value: []int64{1, -1}, Ints: []int{1, -1}, Floats: []float64{1, -1}}, "if"},
		{"u16s", []uint16{1, 65535}, result{Value: []uint64{1, 65535}, Ints: []int{1, 65535}, Floats: []float64{1, 65535}}, "if"},
		{"i16s", []int16{-2}, result{Value: []int64{-2}, Ints: []int{-2}, Floats: []float64{-2}}, "if"},
		{"u32s", []uint32{5}, result{Value: []uint64{5}, Ints: []int{5}, Floats: []float64{5}}, "if"},
		{"i32s", []int32{-5, 4}, result{Value: []int64{-5, 4}, Ints: []int{-5, 4}, Floats: []float64{-5, 4}}, "if"},
		{"u64s", []uint64{6}, result{Value: []uint64{6}, Ints: []int{6}, Floats: []float64{6}}, "if"},
		{"u64s too big", []uint64{6, math.MaxUint64}, result{Value: []uint64{6, math.MaxUint64}, Floats: []float64{6, math.MaxUint64}}, "f"},
		{"i64s", []int64{-6}, result{Value: []int64{-6}, Ints: []int{-6}, Floats: []float64{-6}}, "if"},
		{"ints", []int{8, 9}, result{Value: []int64{8, 9}, Ints: []int{8, 9}, Floats: []float64{8, 9}}, "if"},
		{"no ints", []int32{}, result{Value: []int64{}, Ints: []int{}, Floats: []float64{}}, "if"},
		{"f32s", []float32{0.5, -1}, result{Value: []float64{0.5, -1}, Floats: []float64{0.5, -1}}, "f"},
		{"no f32s", []float32{}, result{Value: []float64{}, Floats: []float64{}}, "f"},
		{"f64s", []float64{0.1}, result{Value: []float64{0.1}, Floats: []float64{0.1}}, "f"},
		{"nested", []any{[]int32{1, 2}, []string{"x"}, []any{[]bool{true}, []any{}}},
			result{Value: []any{[]int64{1, 2}, []string{"x"}, []any{[]bool{true}, []any{}}}}, ""},
	}
	w := gguf.NewWriter()
	var keys []string
	for _, tt := range tests {
		w.Set(tt.key, tt.store)
		keys = append(keys, tt.key)
	}
	meta := open(t, save(t, "values.gguf", encode(t, w))).Metadata()
	if diff := cmp.Diff(keys, meta.Keys()); diff != "" {
		t.Errorf("keys: %s", diff)
	}
	for _, tt := range tests {
		t.Run(tt.key, func(t *testing.T) {
			var got result
			found := ""
			note := func(ok bool, initial string) {
				if ok {
					found += initial
				}
			}
			var ok bool
			if got.Value, ok = meta.Value(tt.key); !ok {
				t.Error("no value")
			}
			got.String, ok = meta.String(tt.key)
			note(ok, "S")
			got.Bool, ok = meta.Bool(tt.key)
			note(ok, "B")
			got.Int, ok = meta.Int(tt.key)
			note(ok, "I")
			got.Float, ok = meta.Float(tt.key)
			note(ok, "F")
			got.Strings, ok = meta.Strings(tt.key)
			note(ok, "s")
			got.Ints, ok = meta.Ints(tt.key)
			note(ok, "i")
			got.Floats, ok = meta.Floats(tt.key)
			note(ok, "f")
			if found != tt.found {
				t.Errorf("getters %q find it, want %q", found, tt.found)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("want -, got +: %s", diff)
			}
		})
	}
	absent(t, meta, "nothing")
}

func absent(t *testing.T, m checkpoint.Metadata, key string) {
	t.Helper()
	_, v := m.Value(key)
	_, s := m.String(key)
	_, b := m.Bool(key)
	_, i := m.Int(key)
	_, f := m.Float(key)
	_, ss := m.Strings(key)
	_, is := m.Ints(key)
	_, fs := m.Floats(key)
	if v || s || b || i || f || ss || is || fs {
		t.Errorf("a getter finds %q", key)
	}
}
