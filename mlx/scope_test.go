package mlx_test

import (
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/inferflux/inferflux/mlx"
)

// failing runs f, which must fail its scope, and checks that what a scope does
// afterwards still works.
func failing(t *testing.T, f func(s *mlx.Scope)) (failure error) {
	t.Helper()
	onLibrary(t, func(s *mlx.Scope) {
		f(s)
		failure = s.Err()
		if failure == nil {
			t.Error("no failure")
		}
		s.Reset()
		compare(t, s.Float32s(s.Add(vec(s, 1), vec(s, 2))), []float32{3}, 0)
	})
	return failure
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name string
		op   func(s *mlx.Scope)
		want string
	}{
		{"matmul", func(s *mlx.Scope) { s.Matmul(grid(s, 2, 3), grid(s, 4, 5)) }, "mlx matmul of [2 3] float32 and [4 5] float32: "},
		{"reshape", func(s *mlx.Scope) { s.Reshape(grid(s, 6), 4) }, "mlx reshape of [6] float32: "},
		{"broadcast", func(s *mlx.Scope) { s.Add(grid(s, 2), grid(s, 3)) }, "mlx add of [2] float32 and [3] float32: "},
		{"absent", func(s *mlx.Scope) { s.Add(grid(s, 2), mlx.Array{}) }, "mlx add of [2] float32: "},
		{"axis", func(s *mlx.Scope) { s.Sum(grid(s, 2), false, 3) }, "mlx sum of [2] float32: "},
		{"huge axis", func(s *mlx.Scope) { s.Softmax(grid(s, 2), 1<<40, false) }, "mlx softmax of [2] float32: "},
		{"rms norm", func(s *mlx.Scope) { s.RMSNorm(grid(s, 2, 3), grid(s, 4), 1e-5) }, "mlx rms_norm of [2 3] float32 and [4] float32: "},
		{"quantize", func(s *mlx.Scope) { s.Quantize(grid(s, 2, 3), 32, 4, "affine") }, "mlx quantize of [2 3] float32: "},
		{"mode", func(s *mlx.Scope) { s.Quantize(grid(s, 2, 32), 32, 4, "a mode that is much too long for any buffer") }, "mlx quantize of [2 32] float32: "},
		{"attention", func(s *mlx.Scope) {
			a := grid(s, 1, 1, 2, 2)
			s.ScaledDotProductAttention(a, a, grid(s, 1, 1, 2, 3), 1, "sideways", mlx.Array{}, mlx.Array{})
		}, "mlx scaled_dot_product_attention of [1 1 2 2] float32 and [1 1 2 2] float32 and [1 1 2 3] float32: "},
		{"concatenate nothing", func(s *mlx.Scope) { s.Concatenate(nil, 0) }, "mlx concatenate: "},
		{"concatenate the absent", func(s *mlx.Scope) { s.Concatenate([]mlx.Array{grid(s, 2), {}}, 0) }, "mlx concatenate of [2] float32: "},
		{"concatenate", func(s *mlx.Scope) { s.Concatenate([]mlx.Array{grid(s, 2, 1), grid(s, 3)}, 1) }, "mlx concatenate of [2 1] float32 and [3] float32: "},
		{"bytes", func(s *mlx.Scope) { s.FromBytes(make([]byte, 5), mlx.Float16, 3) }, "mlx: array of shape [3] and type float16 needs 6 bytes, not 5"},
		{"negative shape", func(s *mlx.Scope) { s.FromBytes(nil, mlx.Float16, -3) }, "mlx: array of shape [-3] is impossible"},
		{"overflowing shape", func(s *mlx.Scope) { s.FromBytes(nil, mlx.Float32, 1<<31, 1<<31, 1<<31) }, "is impossible"},
		{"unknown type", func(s *mlx.Scope) { s.FromBytes(nil, mlx.DType(99), 0) }, "dtype 99"},
		{"unknown type of scalar", func(s *mlx.Scope) { s.Scalar(1, mlx.DType(-1)) }, "dtype -1"},
		{"zeros of unknown type", func(s *mlx.Scope) { s.Zeros(mlx.DType(99), 1) }, "there is no dtype 99"},
		{"to unknown type", func(s *mlx.Scope) { s.AsType(grid(s, 1), mlx.DType(14)) }, "there is no dtype 14"},
		{"large dimension", func(s *mlx.Scope) { s.Zeros(mlx.Float32, 1<<33) }, "does not fit in 32 bits"},
		{"split", func(s *mlx.Scope) {
			if parts := s.Split(grid(s, 5), 2, 0); len(parts) != 2 {
				panic("the promised parts are missing")
			}
		}, "mlx split of [5] float32: "},
		{"load", func(s *mlx.Scope) { s.Load("/nowhere.npy") }, "mlx load: "},
		{"load safetensors", func(s *mlx.Scope) { s.LoadSafetensors("/nowhere.safetensors") }, "mlx load_safetensors: "},
		{"template", func(s *mlx.Scope) {
			k, err := s.Library().NewCUDAKernel(mlx.KernelSource{Name: "k", Outputs: []string{"y"}})
			if err == nil {
				defer s.Library().FreeKernel(k)
				s.Launch(k, nil, nil, [3]int{}, [3]int{}, []mlx.KernelTemplate{{Name: "T", Value: 1.5}}, nil)
			} else {
				s.Launch(k, nil, nil, [3]int{}, [3]int{}, nil, nil)
			}
		}, "mlx kernel"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := failing(t, tt.op)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want %q in it", err, tt.want)
			}
			if e := (*mlx.Error)(nil); errors.As(err, &e) && (e.Message == "" || strings.Contains(e.Message, ".cpp:")) {
				t.Errorf("message %q", e.Message)
			}
		})
	}
}

func TestErrorSticks(t *testing.T) {
	err := failing(t, func(s *mlx.Scope) {
		bad := s.Matmul(grid(s, 2, 3), grid(s, 2, 3))
		if !bad.IsZero() {
			t.Error("a failed operation gave an array")
		}
		first := s.Err()
		if !s.Add(bad, bad).IsZero() || !s.Zeros(mlx.Float32, 1).IsZero() || s.Float32s(bad) != nil || s.Eval(bad) {
			t.Error("a failed scope went on")
		}
		if parts := s.SplitAt(bad, []int{1, 2}, 0); len(parts) != 3 {
			t.Errorf("%d parts, want 3", len(parts))
		}
		if s.Err() != first {
			t.Errorf("the first failure %v gave way to %v", first, s.Err())
		}
	})
	e := (*mlx.Error)(nil)
	if !errors.As(err, &e) || e.Op != "matmul" || !slices.Equal(e.Shapes, []string{"[2 3] float32", "[2 3] float32"}) {
		t.Errorf("%#v", err)
	}
	if errors.Is(err, mlx.ErrOutOfMemory) {
		t.Error("a mismatch is taken for lack of memory")
	}
}

func TestOutOfMemory(t *testing.T) {
	if !library(t).HasGPU() {
		t.Skip("MLX's allocator for the CPU does not report a lack of memory")
	}
	err := failing(t, func(s *mlx.Scope) { s.Eval(s.Zeros(mlx.Float32, 1<<20, 1<<20, 1<<5)) })
	if !errors.Is(err, mlx.ErrOutOfMemory) {
		t.Errorf("%v", err)
	}
}

func TestScopeLifetimes(t *testing.T) {
	lib := library(t)
	var kept mlx.Array
	onLibrary(t, func(s *mlx.Scope) {
		before := lib.Live()
		grid(s, 4)
		kept = s.Keep(s.Add(grid(s, 4), grid(s, 4)))
		last := s.Keep(grid(s, 2))
		s.Reset()
		if n := lib.Live() - before; n != 2 {
			t.Errorf("%d arrays live after Reset, want 2", n)
		}
		compare(t, s.Float32s(kept), []float32{0, 2, 4, 6}, 0)
		s.Own(kept)
		s.Keep(s.Keep(s.Own(last))) // keeping twice is harmless
		s.Close()
		if n := lib.Live() - before; n != 1 {
			t.Errorf("%d arrays live after Close, want 1", n)
		}
		lib.Free(last, mlx.Array{})
		s.Close()
		if s.Err() == nil || !s.Zeros(mlx.Float32, 1).IsZero() {
			t.Error("a closed scope works on")
		}
		other := lib.NewScope(s.Stream())
		s.Own(other.Keep(other.Zeros(mlx.Float32, 1))) // freed at once
		other.Close()
		if n := lib.Live() - before; n != 0 {
			t.Errorf("%d arrays live at last", n)
		}
		*s = *lib.NewScope(s.Stream()) // for onLibrary to look at
	})
}

func TestMemory(t *testing.T) {
	lib := library(t)
	onLibrary(t, func(s *mlx.Scope) {
		lib.Synchronize(s.Stream())
		before := lib.ActiveMemory()
		lib.ResetPeakMemory()
		a := s.Full(1, mlx.Float32, 1024, 1024)
		s.Eval(a)
		if n := lib.ActiveMemory() - before; n < 4<<20 || n > 5<<20 {
			t.Errorf("%d bytes active for an array of 4 MiB", n)
		}
		if lib.NBytes(a) != 4<<20 || lib.Size(a) != 1<<20 || lib.DType(a) != mlx.Float32 {
			t.Errorf("%d bytes, %d elements of %s", lib.NBytes(a), lib.Size(a), lib.DType(a))
		}
		s.Reset()
		if n := lib.ActiveMemory(); n != before {
			t.Errorf("%d bytes active, %d before", n, before)
		}
		if lib.PeakMemory() < 4<<20 {
			t.Errorf("peak of %d bytes", lib.PeakMemory())
		}
		lib.ClearCache()
		if n := lib.CacheMemory(); n != 0 {
			t.Errorf("%d bytes cached after ClearCache", n)
		}
	})
	for name, set := range map[string]func(uint64) (uint64, error){"memory": lib.SetMemoryLimit, "cache": lib.SetCacheLimit} {
		previous, err := set(1 << 30)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if name == "memory" && lib.MemoryLimit() != 1<<30 {
			t.Errorf("the limit is %d", lib.MemoryLimit())
		}
		if now, err := set(previous); err != nil || now != 1<<30 {
			t.Errorf("%s: the limit was %d: %v", name, now, err)
		}
	}
	if _, err := lib.SetWiredLimit(0); err != nil {
		t.Error(err)
	}
}

func TestRead(t *testing.T) {
	onLibrary(t, func(s *mlx.Scope) {
		flipped := s.Transpose(grid(s, 2, 3))
		compare(t, s.AppendFloat32s([]float32{9}, s.AsType(flipped, mlx.BFloat16)), []float32{9, 0, 3, 1, 4, 2, 5}, 0)
		if got := s.Int32s(flipped); !slices.Equal(got, []int32{0, 3, 1, 4, 2, 5}) {
			t.Errorf("%v", got)
		}
		if got := s.Uint32s(s.AsType(flipped, mlx.Uint8)); !slices.Equal(got, []uint32{0, 3, 1, 4, 2, 5}) {
			t.Errorf("%v", got)
		}
		if got := s.Bytes(s.AsType(flipped, mlx.BFloat16)); !slices.Equal(got[:4], []byte{0, 0, 0x40, 0x40}) || len(got) != 12 {
			t.Errorf("%x", got)
		}
		if got := s.Bytes(s.Slice(grid(s, 4, 1), []int{2, 0}, []int{3, 1})); !slices.Equal(got, []byte{0, 0, 0, 0x40}) {
			t.Errorf("%x", got)
		}
		if got := s.AppendBytes([]byte{7}, s.Zeros(mlx.Float32, 0)); !slices.Equal(got, []byte{7}) {
			t.Errorf("%x", got)
		}
		if !s.Eval() || !s.AsyncEval(flipped) {
			t.Error(s.Err())
		}
	})
}

func TestDo(t *testing.T) {
	lib := library(t)
	t.Run("inside Do", func(t *testing.T) {
		n := 0
		lib.Do(func() { lib.Do(func() { n++ }) })
		if n != 1 {
			t.Errorf("ran %d times", n)
		}
	})
	t.Run("panic", func(t *testing.T) {
		defer func() {
			if v := recover(); v != "oh" {
				t.Errorf("recovered %v", v)
			}
			lib.Do(func() {})
		}()
		lib.Do(func() { panic("oh") })
	})
	t.Run("exit", func(t *testing.T) {
		done := make(chan bool)
		go func() {
			defer close(done)
			lib.Do(runtime.Goexit)
			t.Error("Do returned")
		}()
		<-done
		onLibrary(t, func(s *mlx.Scope) { compare(t, s.Float32s(grid(s, 2)), upTo(2), 0) })
	})
	t.Run("concurrent", func(t *testing.T) {
		onLibrary(t, func(*mlx.Scope) {}) // makes the stream
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 50 {
					lib.Do(func() {
						s := lib.NewScope(stream)
						defer s.Close()
						want := float32(g*1000 + i)
						if got := s.Float32s(s.Sum(s.Full(want/4, mlx.Float32, 4), false)); len(got) != 1 || got[0] != want {
							t.Errorf("got %v, want %v: %v", got, want, s.Err())
						}
					})
				}
			})
		}
		wg.Wait()
	})
	t.Run("scope elsewhere", func(t *testing.T) {
		s := lib.NewScope(stream)
		if s.Err() == nil || !s.Zeros(mlx.Float32, 1).IsZero() {
			t.Error("a scope outside Do works")
		}
		lib.Do(func() {
			if lib.NewScope(mlx.Stream{}).Err() == nil {
				t.Error("a scope without stream works")
			}
		})
	})
}

func TestRandom(t *testing.T) {
	onLibrary(t, func(s *mlx.Scope) {
		key := s.RandomKey(7)
		uniform := func(key mlx.Array) []float32 {
			return s.Float32s(s.RandomUniform(scalar(s, -1), scalar(s, 3), key, mlx.Float32, 1000))
		}
		first := uniform(key)
		if !slices.Equal(first, uniform(s.RandomKey(7))) {
			t.Error("the same key gave other numbers")
		}
		if slices.Min(first) < -1 || slices.Max(first) >= 3 || slices.Max(first) < 2.9 {
			t.Errorf("from %v to %v", slices.Min(first), slices.Max(first))
		}
		keys := s.RandomSplit(key, 3)
		if got := s.Library().Shape(keys); !slices.Equal(got, []int{3, 2}) {
			t.Errorf("keys %v", got)
		}
		if second := uniform(s.Squeeze(s.Slice(keys, []int{1, 0}, []int{2, 2}), 0)); slices.Equal(first, second) {
			t.Error("another key gave the same numbers")
		}
		n := s.RandomNormal(5, 2, key, mlx.Float32, 4096)
		compare(t, s.Float32s(s.Mean(n, false)), []float32{5}, 0.05)
		compare(t, s.Float32s(s.Mean(s.Square(s.Subtract(n, scalar(s, 5))), false)), []float32{4}, 0.1)
		compare(t, s.Float32s(s.Mean(s.RandomGumbel(key, mlx.Float32, 4096), false)), []float32{0.5772}, 0.1)
		drawn := s.Uint32s(s.RandomCategorical(s.BroadcastTo(vec(s, 0, 30, 0), 64, 3), -1, key))
		if len(drawn) != 64 || slices.Min(drawn) != 1 || slices.Max(drawn) != 1 {
			t.Errorf("drew %v", drawn)
		}
	})
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	npy, safetensors := filepath.Join(dir, "a.npy"), filepath.Join(dir, "a.safetensors")
	onLibrary(t, func(s *mlx.Scope) {
		s.Save(npy, grid(s, 2, 3))
		compare(t, s.Float32s(s.Load(npy)), upTo(6), 0)
		s.SaveSafetensors(safetensors, map[string]mlx.Array{"b": grid(s, 2), "a": s.AsType(grid(s, 1, 3), mlx.BFloat16)}, map[string]string{"format": "mlx", "empty": ""})
		arrays, metadata := s.LoadSafetensors(safetensors)
		if len(arrays) != 2 || len(metadata) != 2 || metadata["format"] != "mlx" {
			t.Fatalf("%v %v: %v", arrays, metadata, s.Err())
		}
		if d := s.Library().DType(arrays["a"]); d != mlx.BFloat16 {
			t.Errorf("a is of %s", d)
		}
		compare(t, s.Float32s(arrays["a"]), upTo(3), 0)
		compare(t, s.Float32s(arrays["b"]), upTo(2), 0)
	})
}

func TestDevices(t *testing.T) {
	lib := library(t)
	devices := lib.Devices()
	if len(devices) == 0 || devices[len(devices)-1].Type != mlx.CPU {
		t.Fatalf("devices %v", devices)
	}
	if lib.HasGPU() != (lib.Metal() || lib.CUDA()) || lib.HasGPU() != (lib.GPU().Name != "") {
		t.Errorf("has a GPU: %v, Metal: %v, CUDA: %v, %v", lib.HasGPU(), lib.Metal(), lib.CUDA(), lib.GPU())
	}
	for _, d := range devices {
		if d.Name == "" || d.Architecture == "" {
			t.Errorf("%#v lacks a name or an architecture", d)
		}
	}
	if lib.CPU().Type != mlx.CPU || !strings.Contains(lib.CPU().String(), "(cpu:0)") {
		t.Errorf("%v", lib.CPU())
	}
	if _, err := lib.NewStream(mlx.Device{Type: 7}); err == nil {
		t.Error("a stream on no device")
	}
}
