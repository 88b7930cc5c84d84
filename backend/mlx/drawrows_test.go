package mlx

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/tensor"
)

// feature is something that a draw may ask for.
type feature struct {
	name string
	add  func(r *rand.Rand, d *backend.Draw, vocab int)
}

var features = []feature{
	{"temperature", func(r *rand.Rand, d *backend.Draw, _ int) {
		d.Temperature = []float64{0.01, 0.5, 1, 1, 1.7, 50}[r.IntN(6)]
		d.Uniform = r.Float64()
		if r.IntN(10) == 0 {
			d.Uniform = []float64{0, 1 - 0x1p-53}[r.IntN(2)]
		}
	}},
	{"top-k", func(r *rand.Rand, d *backend.Draw, vocab int) {
		d.TopK = []int{1, 2, 3, 20, 40, 200, vocab - 1, vocab, vocab + 5}[r.IntN(9)]
	}},
	{"top-p", func(r *rand.Rand, d *backend.Draw, _ int) {
		d.TopP = []float64{1e-6, 0.1, 0.5, 0.9, 0.95, 0.999}[r.IntN(6)]
	}},
	{"min-p", func(r *rand.Rand, d *backend.Draw, _ int) {
		d.MinP = []float64{1e-9, 0.01, 0.05, 0.3, 1}[r.IntN(5)]
	}},
	{"edits", func(r *rand.Rand, d *backend.Draw, vocab int) {
		for _, token := range r.Perm(vocab)[:r.IntN(min(vocab, 70))] {
			e := sample.Edit{Token: int32(token), Divide: 1, Add: float32(r.NormFloat64())}
			if r.IntN(2) == 0 {
				e.Divide = 0.5 + 2*r.Float32()
			}
			switch r.IntN(20) {
			case 0:
				e.Add = 100
			case 1:
				e.Add = -100
			case 2:
				e.Divide = 1e-38 // past float32's range
			}
			d.Edits = append(d.Edits, e)
		}
	}},
	{"mask", func(r *rand.Rand, d *backend.Draw, vocab int) {
		d.Mask = make([]uint32, r.IntN(vocab/32+3))
		few := r.IntN(2) == 0
		for i := range d.Mask {
			d.Mask[i] = r.Uint32()
			if few && r.IntN(20) > 0 {
				d.Mask[i] = 0
			}
		}
	}},
	{"banned", func(r *rand.Rand, d *backend.Draw, vocab int) {
		for range 1 + r.IntN(9) {
			d.Banned = append(d.Banned, int32(r.IntN(vocab)))
		}
		if len(d.Edits) > 0 {
			d.Banned = append(d.Banned, d.Edits[0].Token)
		}
		d.Banned = append(d.Banned, -1, int32(vocab)) // no tokens: ignored
	}},
	{"logprobs", func(r *rand.Rand, d *backend.Draw, vocab int) {
		d.Logprobs = []int{0, 1, 5, 20, vocab + 1}[min(r.IntN(6), 4)]
		if vocab > 1000 {
			d.Logprobs = min(d.Logprobs, 20)
		}
	}},
}

// randomRow is a row of logits of one of several kinds.
func randomRow(r *rand.Rand, row []float32, strange bool) {
	scale := []float64{0.01, 1, 3, 10}[r.IntN(4)]
	grain := []float64{0, 0, 0.25, 4}[r.IntN(4)] // coarse ones have many equals
	for i := range row {
		x := r.NormFloat64() * scale
		if grain > 0 {
			x = math.Round(x/grain) * grain
		}
		row[i] = float32(x)
	}
	if !strange {
		return
	}
	inf := float32(math.Inf(1))
	special := []float32{float32(math.NaN()), inf, -inf, 0, float32(math.Copysign(0, -1)), 60000}
	switch kind := r.IntN(8); kind {
	case 0, 1, 2: // nothing but one kind
		for i := range row {
			row[i] = special[kind]
		}
	case 3:
		for i := range row {
			row[i] = special[2*r.IntN(2)]
		}
	default:
		for range 1 + r.IntN(len(row)) {
			row[r.IntN(len(row))] = special[r.IntN(len(special))]
		}
	}
	if r.IntN(2) == 0 {
		row[0] = special[r.IntN(len(special))]
	}
}

// narrow rounds the row to a type and gives its bytes.
func narrow(row []float32, d mlx.DType) (data []byte) {
	for i, x := range row {
		switch d {
		case mlx.Float16:
			h := tensor.F32ToF16(x)
			row[i], data = tensor.F16ToF32(h), append(data, byte(h), byte(h>>8))
		case mlx.BFloat16:
			h := tensor.F32ToBF16(x)
			row[i], data = tensor.BF16ToF32(h), append(data, byte(h), byte(h>>8))
		default:
			b := math.Float32bits(x)
			data = append(data, byte(b), byte(b>>8), byte(b>>16), byte(b>>24))
		}
	}
	return data
}

func BenchmarkDraws(b *testing.B) {
	backendUnderTest := testBackend(b)
	lib, device, err := backendUnderTest.open()
	if err != nil {
		b.Fatal(err)
	}
	kinds := []struct {
		name   string
		change func(*backend.Draw)
	}{
		{"greedy", func(d *backend.Draw) {}},
		{"temperature", func(d *backend.Draw) { d.Temperature = 0.8 }},
		{"top-k", func(d *backend.Draw) { d.Temperature, d.TopK = 0.8, 40 }},
		{"top-p", func(d *backend.Draw) { d.Temperature, d.TopP = 0.8, 0.95 }},
		{"top-k,top-p", func(d *backend.Draw) { d.Temperature, d.TopK, d.TopP = 0.8, 40, 0.95 }},
		{"logprobs", func(d *backend.Draw) { d.Logprobs = 5 }},
		{"mask", func(d *backend.Draw) { d.Mask = slices.Repeat([]uint32{0x55555555}, 151936/32) }},
	}
	for _, kind := range kinds {
		for _, n := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", kind.name, n), func(b *testing.B) {
				const vocab = 151936
				r := rand.New(rand.NewPCG(1, 1))
				logits := make([]float32, n*vocab)
				for i := range logits {
					logits[i] = float32(r.NormFloat64() * 3)
				}
				draws := make([]*backend.Draw, n)
				for i := range draws {
					draws[i] = plainDraw()
					draws[i].Uniform = r.Float64()
					kind.change(draws[i])
				}
				choices, errs := make([]sample.Choice, n), make([]error, n)
				lib.Do(func() {
					stream, err := lib.NewStream(device)
					if err != nil {
						b.Fatal(err)
					}
					d, err := newDrawer(lib, device.Type != mlx.CPU)
					if err != nil {
						b.Fatal(err)
					}
					defer d.close()
					in := lib.NewScope(stream)
					defer in.Close()
					x := in.AsType(in.FromFloat32s(logits, n, vocab), mlx.BFloat16)
					in.Eval(x)
					for b.Loop() {
						s := lib.NewScope(stream)
						drawn, err := d.build(s, x, draws)
						if err != nil {
							b.Fatal(err)
						}
						s.Eval(drawn.arrays()...)
						drawn.read(s, draws, choices, errs)
						s.Close()
					}
				})
			})
		}
	}
}
