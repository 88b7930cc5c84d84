package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/inferflux/inferflux/simd"
	"github.com/inferflux/inferflux/simd/roofline"
	"github.com/inferflux/inferflux/tensor"
)

// KernelResult is how fast a tier's kernels multiply with a type of weights.
type KernelResult struct {
	Tier    string  `json:"tier"`
	Type    string  `json:"type"`
	Rows    int     `json:"rows"` // activations multiplied at once
	Threads int     `json:"threads"`
	GOPS    float64 `json:"gop_per_second"`
	GBps    float64 `json:"gb_per_second"` // of packed weights
	// The machine's most, measured at the same time: of the instruction that such
	// products are made of, and of reading memory of the weights' size.
	Unit     string  `json:"instruction"`
	PeakGOPS float64 `json:"peak_gop_per_second"`
	PeakGBps float64 `json:"peak_gb_per_second"`
	// Share is the larger part of the two, the one that bounds the product.
	Share float64 `json:"share_of_peak"`
	Bound string  `json:"bound"` // "memory" or "arithmetic"
}

// KernelOptions say what to measure.
type KernelOptions struct {
	Tiers   []string // of simd.Tiers
	Types   []string // of KernelTypes
	Rows    []int
	Threads int
	Bytes   int // of weights, about; a sixteenth of it where many rows share them
}

// cols is the width of the matrices: that of many models' hidden state.
const cols = 4096

// manyRows is from where on reading weights is not what takes time.
const manyRows = 64

// weightTypes are the types that kernels are measured for.
var weightTypes = []struct {
	name string
	make func(name string, rows int) (tensor.Tensor, error)
}{
	{"f32", plain(tensor.F32)}, {"f16", plain(tensor.F16)}, {"bf16", plain(tensor.BF16)},
	{"q4_0", plain(tensor.Q4_0)}, {"q4_1", plain(tensor.Q4_1)}, {"q5_0", plain(tensor.Q5_0)}, {"q5_1", plain(tensor.Q5_1)}, {"q8_0", plain(tensor.Q8_0)},
	{"q2_k", plain(tensor.Q2_K)}, {"q3_k", plain(tensor.Q3_K)}, {"q4_k", plain(tensor.Q4_K)}, {"q5_k", plain(tensor.Q5_K)}, {"q6_k", plain(tensor.Q6_K)},
	{"iq4_nl", plain(tensor.IQ4_NL)}, {"iq4_xs", plain(tensor.IQ4_XS)}, {"mxfp4", plain(tensor.MXFP4)},
	{"mlx2", affine(2)}, {"mlx3", affine(3)}, {"mlx4", affine(4)}, {"mlx5", affine(5)}, {"mlx6", affine(6)}, {"mlx8", affine(8)},
	{"mlx-mxfp4", packed("mxfp4", 4, 32)}, {"mlx-mxfp8", packed("mxfp8", 8, 32)}, {"mlx-nvfp4", packed("nvfp4", 4, 16)},
}

// KernelTypes names them: GGUF's types, MLX's widths in groups of 64, and MLX's
// small floats.
func KernelTypes() []string {
	var names []string
	for _, t := range weightTypes {
		names = append(names, t.name)
	}
	return names
}

// noise is n bytes that are ordinary numbers as floats of 16 or 32 bit and as scales,
// wherever those lie.
func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = 0x2c | byte(r.Uint32()&3)
		if i%2 == 0 {
			b[i] = byte(r.Uint32()) & 0x7b // not NaN as an 8-bit float
		}
	}
	return b
}

func plain(t tensor.Type) func(string, int) (tensor.Tensor, error) {
	return func(name string, rows int) (tensor.Tensor, error) {
		n, err := t.RowBytes(cols)
		return tensor.Tensor{Name: name, Type: t, Shape: []int{rows, cols}, Data: noise(rows * n)}, err
	}
}

func affine(bits int) func(string, int) (tensor.Tensor, error) { return packed("affine", bits, 64) }

func packed(mode string, bits, group int) func(string, int) (tensor.Tensor, error) {
	return func(name string, rows int) (tensor.Tensor, error) {
		p := tensor.Packed{Mode: mode, Bits: bits, Group: group}
		n := rows * cols / group
		p.Scales = tensor.Tensor{Name: "scales", Type: tensor.U8, Shape: []int{rows, cols / group}, Data: noise(n)}
		if mode == "affine" {
			p.Scales.Type, p.Scales.Data = tensor.F16, noise(2*n)
			p.Biases = p.Scales
			p.Biases.Name = "biases"
		}
		return tensor.NewPacked(name, []int{rows, cols}, noise(rows*cols/8*bits), p)
	}
}

// Kernels measures. A tier is chosen when a program starts, so each but the one in
// use is measured by this program run again.
func Kernels(ctx context.Context, o KernelOptions, note func(string)) ([]KernelResult, error) {
	var all []KernelResult
	for _, tier := range o.Tiers {
		one := o
		one.Tiers = []string{tier}
		measure := measureKernels
		if tier != simd.Tier() {
			measure = measureElsewhere
		}
		results, err := measure(ctx, one, note)
		if err != nil {
			return nil, fmt.Errorf("kernels %s: %w", tier, err)
		}
		all = append(all, results...)
	}
	return all, nil
}

func measureElsewhere(ctx context.Context, o KernelOptions, note func(string)) ([]KernelResult, error) {
	if os.Getenv("INFERFLUX_SIMD") == o.Tiers[0] {
		return nil, errors.New("this machine hasn't got them")
	}
	program, err := self()
	if err != nil {
		return nil, err
	}
	note(o.Tiers[0])
	var rows []string
	for _, n := range o.Rows {
		rows = append(rows, strconv.Itoa(n))
	}
	cmd := exec.CommandContext(ctx, program, "bench", "kernels", "--tiers", o.Tiers[0], "--types", strings.Join(o.Types, ","), "--rows", strings.Join(rows, ","),
		"-t", strconv.Itoa(o.Threads), "--size", strconv.Itoa(o.Bytes>>20), "--json")
	cmd.Env = append(os.Environ(), "INFERFLUX_SIMD="+o.Tiers[0])
	stderr := &tail{}
	cmd.Stderr = stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr)
	}
	var results []KernelResult
	return results, json.Unmarshal(out, &results)
}

func measureKernels(ctx context.Context, o KernelOptions, note func(string)) ([]KernelResult, error) {
	peaks := map[string]float64{}
	for _, p := range roofline.Peaks(ctx, o.Threads) {
		peaks[p.Name] = p.GOPS
	}
	var all []KernelResult
	for _, typ := range weightTypes {
		if !slices.Contains(o.Types, typ.name) {
			continue
		}
		var m *simd.Matrix
		size := 0
		bandwidth := map[int]float64{} // by size; it drifts
		for _, rows := range o.Rows {
			want := o.Bytes
			if rows >= manyRows {
				want /= 16
			}
			if m == nil || size != want {
				size = want
				one, err := typ.make(typ.name, 1)
				if err != nil {
					return nil, err
				}
				w, err := typ.make(typ.name, max(16*o.Threads, want/int(one.Bytes())&^15))
				if err != nil {
					return nil, err
				}
				if m, err = simd.PackParts(w); err != nil {
					return nil, err
				}
			}
			if bandwidth[size] == 0 {
				reader := roofline.NewReader(size)
				bandwidth[size] = reader.Measure(o.Threads).GBps
				reader.Close()
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			note(fmt.Sprintf("%s, %s, %d rows", simd.Tier(), typ.name, rows))
			panels := multiply(m, rows, o.Threads)
			r := KernelResult{Tier: simd.Tier(), Type: typ.name, Rows: rows, Threads: o.Threads, PeakGBps: bandwidth[size]}
			r.GOPS = panels * 2 * 16 * cols * float64(rows) / 1e9
			r.GBps = panels * float64(m.Bytes()) / float64(m.Panels()) / 1e9
			r.Unit = roofline.UnitOf(r.Tier, slices.Contains([]string{"f32", "f16", "bf16", "mlx-mxfp8"}, typ.name))
			r.PeakGOPS = peaks[r.Unit]
			r.Share, r.Bound = r.GBps/r.PeakGBps, "memory"
			if share := r.GOPS / r.PeakGOPS; r.PeakGOPS > 0 && share > r.Share {
				r.Share, r.Bound = share, "arithmetic"
			}
			if math.IsNaN(r.Share) || math.IsInf(r.Share, 0) {
				return nil, fmt.Errorf("%s, %d rows: nothing was measured", typ.name, rows)
			}
			all = append(all, r)
		}
	}
	return all, nil
}

// multiply returns how many panels a second are multiplied with so many rows. Each
// thread walks its share of the matrix, round after round, for a while.
func multiply(m *simd.Matrix, rows, threads int) float64 {
	r := rand.New(rand.NewPCG(3, 4))
	x := make([]float32, rows*cols)
	for i := range x {
		x[i] = r.Float32() - 0.5
	}
	var a simd.Activations
	a.Reset(rows, cols)
	a.Set(0, rows, x, cols, true, true)
	stride := 16 * m.Panels()
	dst := make([]float32, rows*stride)
	step := 32
	if rows >= manyRows {
		step = 4
	}
	const warm, enough = 30 * time.Millisecond, 250 * time.Millisecond
	speeds := make([]float64, threads)
	var done sync.WaitGroup
	begin := time.Now()
	for t := range threads {
		done.Go(func() {
			from, to := t*m.Panels()/threads, (t+1)*m.Panels()/threads
			n, start := 0, time.Duration(0)
			for p := from; ; p += step {
				if p >= to {
					p = from
				}
				end := min(p+step, to)
				m.Mul(dst, stride, &a, 0, rows, p, end)
				n += end - p
				switch now := time.Since(begin); {
				case start == 0 && now >= warm:
					n, start = 0, now
				case start > 0 && now >= enough:
					speeds[t] = float64(n) / (now - start).Seconds()
					return
				}
			}
		})
	}
	done.Wait()
	sum := 0.0
	for _, s := range speeds {
		sum += s
	}
	return sum
}
