package mlx

import (
	_ "embed"
	"math/bits"
	"slices"
	"strings"

	"github.com/inferflux/inferflux/backend/mlx/repack"
	"github.com/inferflux/inferflux/backend/paging"
	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/nn"
)

// The kernels of our own for NVIDIA GPUs. MLX has none for attention of sequences
// of different lengths, and what it does to append to a cache copies the cache as
// long as a step that reads it is under way. These write to the pools in place.
// MLX orders kernels by the arrays that they make: whatever reads what append.cu
// wrote must take one of its outputs.
var (
	//go:embed kernels/append.cu
	appendSource string
	//go:embed kernels/attend.cu
	attendSource string
	//go:embed kernels/combine.cu
	combineSource string
	//go:embed kernels/copyrows.cu
	copyRowsSource string
	//go:embed kernels/addnorm.cu
	addNormSource string
	//go:embed kernels/product.cu
	productSource string
)

// fused are the kernels, on a device that has them.
type fused struct {
	append, attend, combine, copyRows, addNorm, product mlx.Kernel
	processors                                          int // of the GPU: blocks that run at once, about
}

func newFused(lib *mlx.Library) (*fused, error) {
	f := &fused{processors: 132}
	for _, k := range []struct {
		to           *mlx.Kernel
		name, source string
		in, out      []string
	}{
		{&f.append, "append", appendSource, []string{"qkv", "meta", "k_pool", "v_pool", "qnorm", "knorm", "inv_freq", "numbers"}, []string{"q", "k"}},
		{&f.attend, "attend", attendSource, []string{"q", "k_pool", "v_pool", "meta", "numbers"}, []string{"out"}},
		{&f.combine, "combine", combineSource, []string{"parts"}, []string{"out"}},
		{&f.copyRows, "copy_rows", copyRowsSource, []string{"pool", "places"}, []string{"done"}},
		{&f.addNorm, "add_norm", addNormSource, []string{"a", "b", "w", "numbers"}, []string{"sum", "normed"}},
		{&f.product, "product", productSource, []string{"x", "w", "scales", "biases"}, []string{"out"}},
	} {
		var err error
		if *k.to, err = lib.NewCUDAKernel(mlx.KernelSource{
			Name: "inferflux_" + k.name, Inputs: k.in, Outputs: k.out, Source: code(k.source), EnsureRowContiguous: true,
		}); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// t is a kernel's compile-time argument.
func t(name string, value any) mlx.KernelTemplate {
	return mlx.KernelTemplate{Name: name, Value: value}
}

// code is a source without its comments: MLX copies and hashes it with every
// launch.
func code(source string) string {
	var b strings.Builder
	for line := range strings.Lines(source) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// fits reports whether the kernels can do an attention.
func (f *fused) fits(a nn.Attention) bool {
	if a.Sinks.Present() {
		return false
	}
	switch a.HeadDim {
	case 32, 64, 128, 256:
		return true
	}
	return false
}

// headGroup is how many query heads of one KV head a block takes: as many as its
// registers hold.
func headGroup(heads, kvHeads int) int {
	group := heads / kvHeads
	for _, n := range []int{4, 3, 2} {
		if group%n == 0 {
			return n
		}
	}
	return 1
}

// attendFused normalizes, rotates, appends and attends with the kernels, if q, k
// and v are what they take: the three parts of one product.
func (s *step) attendFused(q, k, v nn.Tensor, a nn.Attention) (mlx.Array, bool) {
	f := s.e.fused
	if f == nil || !f.fits(a) || s.e.kv.dtype != s.e.dtype {
		return mlx.Array{}, false
	}
	qo, ok1 := s.origin(q, a.HeadDim)
	ko, ok2 := s.origin(k, a.HeadDim)
	vo, ok3 := s.origin(v, a.HeadDim)
	qw, kw := q.Cols, k.Cols
	if !ok1 || !ok2 || !ok3 || qo.of != ko.of || qo.of != vo.of || qo.off != 0 || ko.off != qw || vo.off != qw+kw || qo.of.cols != qw+2*kw ||
		vo.norm != nil || vo.rope != nil || qo.rope == nil || qo.rope != ko.rope || (qo.norm == nil) != (ko.norm == nil) || qo.eps != ko.eps {
		return mlx.Array{}, false
	}
	n, r := len(s.Tokens), qo.rope
	qn, kn := qo.of.array, qo.of.array // not read
	if qo.norm != nil {
		qn, kn = qo.norm.vector, ko.norm.vector
	}
	scale := r.Scale
	if scale == 0 {
		scale = 1
	}
	heads := a.Heads + 2*a.KVHeads
	s.templates = append(s.templates[:0],
		t("T", s.e.dtype), t("HEADS", a.Heads), t("KV_HEADS", a.KVHeads), t("HEAD_DIM", a.HeadDim),
		t("PAGE", paging.PageTokens), t("ROPE_DIMS", r.Dims),
		t("INTERLEAVED", r.Style == nn.RopeInterleaved), t("NORM", qo.norm != nil))
	out := s.g.Launch(f.append, []mlx.Array{qo.of.array, s.metadata(), s.e.kv.keys[a.Layer], s.e.kv.values[a.Layer], qn, kn, s.e.frequencies(r), s.numbers(qo.eps, scale)},
		[]mlx.KernelOutput{{Shape: []int{n, a.Heads, a.HeadDim}, DType: s.e.dtype}, {Shape: []int{n, a.KVHeads, a.HeadDim}, DType: s.e.dtype}},
		[3]int{32, roundUp(heads, 4), n}, [3]int{32, 4, 1}, s.templates, nil)
	s.appended = out[0]
	if len(s.prefill) == 0 {
		return s.g.Reshape(s.attendPaged(out[0], a), n, qw), true
	}
	values := s.g.Reshape(s.g.Slice(qo.of.array, []int{0, qw + kw}, []int{n, qw + 2*kw}), n, a.KVHeads, a.HeadDim)
	return s.attendSpans(out[0], out[1], values, a, s.attendPaged), true
}

// attendPaged is attention of the rows that attend one by one, q [rows, heads,
// head_dim], on the pools as they are. It is [rows, heads, head_dim].
func (s *step) attendPaged(q mlx.Array, a nn.Attention) mlx.Array {
	const warps = 8
	f, g := s.e.fused, &s.decode
	rows, group := len(g.rows), headGroup(a.Heads, a.KVHeads)
	meta := s.metadata()
	if rows < len(s.Tokens) {
		meta = s.g.Take(meta, s.decodeRows(), 0)
	}
	length := g.length
	if a.Window > 0 {
		length = min(length, a.Window)
	}
	shares := s.shares(a.Heads, a.KVHeads, length)
	s.templates = append(s.templates[:0],
		t("T", s.e.dtype), t("HEADS", a.Heads), t("KV_HEADS", a.KVHeads), t("HEAD_DIM", a.HeadDim),
		t("PAGE", paging.PageTokens), t("GROUP", group), t("WARPS", warps), t("WINDOW", a.Window),
		t("SOFT_CAP", a.SoftCap > 0), t("LAST", shares == 1))
	output := mlx.KernelOutput{Shape: []int{rows, a.Heads, a.HeadDim}, DType: s.e.dtype}
	if shares > 1 {
		output = mlx.KernelOutput{Shape: []int{rows * a.Heads, shares, a.HeadDim + 2}, DType: mlx.Float32}
	}
	s.templates = append(s.templates, t("O", output.DType))
	out := s.g.Launch(f.attend, []mlx.Array{q, s.e.kv.keys[a.Layer], s.e.kv.values[a.Layer], meta, s.numbers(a.Scale, a.SoftCap)},
		[]mlx.KernelOutput{output}, [3]int{32 * shares, warps * a.Heads / group, rows}, [3]int{32, warps, 1}, s.templates, nil)
	if len(out) != 1 || shares == 1 {
		return first(out)
	}
	s.templates = append(s.templates[:0], t("T", s.e.dtype), t("HEAD_DIM", a.HeadDim))
	return first(s.g.Launch(f.combine, out, []mlx.KernelOutput{{Shape: []int{rows, a.Heads, a.HeadDim}, DType: s.e.dtype}},
		[3]int{rows * a.Heads * a.HeadDim, 1, 1}, [3]int{a.HeadDim, 1, 1}, s.templates, nil))
}

// aloneUpTo is how many positions one block takes: up to so many, a second kernel
// costs more than waiting for it.
const aloneUpTo = 8 * paging.PageTokens

// shares is among how many blocks the positions of a row are divided, so that a
// small batch occupies the whole GPU too.
func (s *step) shares(heads, kvHeads, length int) int {
	if length <= aloneUpTo {
		return 1
	}
	blocks := len(s.decode.rows) * heads / headGroup(heads, kvHeads)
	most := max(1, min(s.e.fused.processors/blocks, 32))
	// A power of two, so that the number changes seldom as the sequences grow.
	return min(1<<(bits.Len(uint(length/paging.PageTokens))-1), 1<<(bits.Len(uint(most))-1))
}

func first(a []mlx.Array) mlx.Array {
	if len(a) == 0 {
		return mlx.Array{}
	}
	return a[0]
}

// addNorm computes a sum that was noted together with its norm.
func (s *step) addNorm(v *value, x nn.Tensor, w *weight, eps float32) (mlx.Array, bool) {
	const most = 8192 // columns that fit in shared memory
	if s.e.fused == nil || v.sum[0].IsZero() || !v.array.IsZero() || x.Off != 0 || x.Cols != v.cols || v.cols > most {
		return mlx.Array{}, false
	}
	s.templates = append(s.templates[:0], t("T", s.e.dtype), t("N", v.cols))
	threads := min(1024, roundUp(v.cols, 32))
	shape := mlx.KernelOutput{Shape: []int{x.Rows, v.cols}, DType: s.e.dtype}
	out := s.g.Launch(s.e.fused.addNorm, []mlx.Array{v.sum[0], v.sum[1], w.vector, s.numbers(eps, 0)}, []mlx.KernelOutput{shape, shape},
		[3]int{threads * x.Rows, 1, 1}, [3]int{threads, 1, 1}, s.templates, nil)
	v.array = out[0]
	return out[1], true
}

// takesFew reports whether our product for few rows takes a weight.
func (s *step) takesFew(m *segment, rows, cols int) bool {
	const most, chunk = 32, 128
	return s.e.fused != nil && rows <= most && m.how.Mode == repack.Affine && m.how.Bits == 4 && cols%chunk == 0 && m.rows%32 == 0 &&
		(s.e.dtype == mlx.BFloat16 || s.e.dtype == mlx.Float16)
}

// fewRows is x [rows, …] times a weight that takesFew, gated or not.
func (s *step) fewRows(x mlx.Array, rows int, m *segment, gated bool) mlx.Array {
	const warps = 8
	tiles, columns := 1, m.rows
	if gated {
		columns /= 2
	}
	for tiles*8 < rows {
		tiles *= 2
	}
	s.templates = append(s.templates[:0], t("T", s.e.dtype), t("BF16", s.e.dtype == mlx.BFloat16), t("GROUP", m.how.Group),
		t("WARPS", warps), t("TILES", tiles), t("GATED", gated))
	return first(s.g.Launch(s.e.fused.product, []mlx.Array{x, m.w, m.scales, m.biases}, []mlx.KernelOutput{{Shape: []int{rows, columns}, DType: s.e.dtype}},
		[3]int{2 * columns, warps, 1}, [3]int{32, warps, 1}, s.templates, nil))
}

// lastMeta is the metadata of the last step, on the host and on the device.
type lastMeta struct {
	array mlx.Array
	table []int32
	width int
}

// metadata is [rows, 1 + pages] int32: each row's position, and the page table of
// its sequence. The table's width grows in steps, so that shapes change seldom.
//
// When the same sequences just went on by a token, as they do most of the time,
// the device counts by itself: what the host writes reaches it late.
func (s *step) metadata() mlx.Array {
	if !s.meta.IsZero() {
		return s.meta
	}
	pages := 0
	for _, seq := range s.Seqs {
		pages = max(pages, len(seq.Pages))
	}
	rows, width := len(s.Tokens), 1+roundUp(pages, 16)
	last := &s.e.meta
	next := width == last.width && rows*width == len(last.table)
	s.table = append(s.table[:0], make([]int32, rows*width)...)
	for row, p := range s.Positions {
		line := s.table[row*width : (row+1)*width]
		line[0] = p
		copy(line[1:], s.Seqs[s.Owner[row]].Pages)
		next = next && last.table[row*width]+1 == p && slices.Equal(line[1:], last.table[row*width+1:(row+1)*width])
	}
	if next {
		one, ok := s.e.steps[width]
		if !ok {
			first := make([]int32, width)
			first[0] = 1
			one = s.g.Keep(s.g.FromInt32s(first, 1, width))
			s.e.steps[width] = one
		}
		s.meta = s.g.Add(last.array, one)
	} else {
		s.meta = s.g.FromInt32s(s.table, rows, width)
	}
	s.lib.Free(last.array)
	last.array, last.width = s.g.Keep(s.meta), width
	last.table, s.table = s.table, last.table
	return s.meta
}

// numbers is a pair of numbers that a kernel reads, kept as long as the engine:
// there are few different ones.
func (s *step) numbers(a, b float32) mlx.Array {
	key := [2]float32{a, b}
	x, ok := s.e.constants[key]
	if !ok {
		x = s.g.Keep(s.g.FromFloat32s(key[:], 2))
		s.e.constants[key] = x
	}
	return x
}

func (f *fused) close(lib *mlx.Library) {
	for _, k := range []mlx.Kernel{f.append, f.attend, f.combine, f.copyRows, f.addNorm, f.product} {
		lib.FreeKernel(k)
	}
}
