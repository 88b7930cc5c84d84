package install

import (
	"errors"
	"fmt"
	"math"

	"github.com/inferflux/inferflux/mlx"
)

// Verify loads a library into this process and computes with it: a product of
// two matrices, the same with one of them quantized, and a gather (which CUDA
// compiles at run time, with its headers). It compares with what Go computes.
func Verify(l Library, d Device) (Facts, error) {
	lib, err := mlx.Open(mlx.Location{Path: l.C, MLX: l.MLX, Source: "installed"})
	if err != nil {
		return Facts{}, err
	}
	device := lib.CPU()
	switch {
	case lib.HasGPU() && d != CPU:
		device = lib.GPU()
	case d == CUDA12 || d == CUDA13 || d == Metal:
		return Facts{}, fmt.Errorf("MLX %s from %s finds no GPU: is the driver loaded (nvidia-smi), and does this user (or container) see the device?", lib.Version(), l.C)
	}
	stream, err := lib.NewStream(device)
	if err != nil {
		return Facts{}, err
	}
	lib.Do(func() { err = compute(lib, stream) })
	if err != nil {
		return Facts{}, fmt.Errorf("MLX %s on %s: %w", lib.Version(), device, err)
	}
	return Facts{Version: lib.Version(), Device: device.Name, GPU: device.Type == mlx.GPU}, nil
}

const (
	rows, inner, columns = 3, 64, 32
	group, bits          = 32, 4
)

func compute(lib *mlx.Library, stream mlx.Stream) error {
	s := lib.NewScope(stream)
	defer s.Close()
	x, w := wave(rows*inner, 0.37), wave(columns*inner, 0.11)
	ax, aw := s.FromFloat32s(x, rows, inner), s.FromFloat32s(w, columns, inner)
	plain := s.Float32s(s.Matmul(ax, s.Transpose(aw)))
	q, scales, biases := s.Quantize(aw, group, bits, "affine")
	quantized := s.Float32s(s.QuantizedMatmul(ax, q, scales, biases, true, group, bits, "affine"))
	rounded := s.Float32s(s.Dequantize(q, scales, biases, group, bits, "affine", mlx.Float32))
	taken := s.Float32s(s.Take(ax, s.FromInt32s([]int32{2, 0}, 2), 0))
	if err := s.Err(); err != nil {
		return err
	}
	// GPUs may round the factors of a product to 10 bits (TF32).
	const tolerance = 2e-2
	switch {
	case farthest(plain, product(x, w)) > tolerance:
		return errors.New("a product of matrices is wrong")
	case farthest(rounded, w) > 0.2:
		return errors.New("quantized values are wrong")
	case farthest(quantized, product(x, rounded)) > tolerance:
		return errors.New("a product with a quantized matrix is wrong")
	case farthest(taken, append(append([]float32(nil), x[2*inner:]...), x[:inner]...)) > 0:
		return errors.New("gathered rows are wrong")
	}
	return nil
}

// wave makes values between -1 and 1.
func wave(n int, step float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(math.Sin(float64(i) * step))
	}
	return v
}

// product is x·wᵀ, rows × columns.
func product(x, w []float32) []float32 {
	if len(w) != columns*inner {
		return nil
	}
	var out []float32
	for i := range rows {
		for j := range columns {
			sum := 0.0
			for k := range inner {
				sum += float64(x[i*inner+k]) * float64(w[j*inner+k])
			}
			out = append(out, float32(sum))
		}
	}
	return out
}

// farthest is the largest difference of two vectors, infinite where they can't
// be compared.
func farthest(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	most := 0.0
	for i := range a {
		d := math.Abs(float64(a[i]) - float64(b[i]))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		most = max(most, d)
	}
	return most
}
