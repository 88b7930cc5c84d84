package mlx

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/sample"
)

// drawTest runs draws on the device and holds them to package sample.
type drawTest struct {
	t       *testing.T
	lib     *mlx.Library
	stream  mlx.Stream
	drawer  *drawer
	chooser sample.Chooser

	rows, near int // drawn; of them, on the other side of an edge within rounding
}

func newDrawTest(t *testing.T, compile bool) *drawTest {
	b := testBackend(t)
	lib, device, err := b.open()
	if err != nil {
		t.Fatal(err)
	}
	d := &drawTest{t: t, lib: lib}
	live := lib.Live()
	lib.Do(func() {
		if d.stream, err = lib.NewStream(device); err == nil {
			d.drawer, err = newDrawer(lib, compile)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		lib.Do(d.drawer.close)
		if n := lib.Live(); n != live {
			t.Errorf("%d arrays live at the end, %d before", n, live)
		}
	})
	return d
}

// run draws from rows of logits.
func (d *drawTest) run(rows [][]float32, dtype mlx.DType, draws []*backend.Draw) (choices []sample.Choice, errs []error) {
	d.t.Helper()
	n := len(rows)
	choices, errs = make([]sample.Choice, n), make([]error, n)
	var data []byte
	for _, row := range rows {
		data = append(data, narrow(row, dtype)...)
	}
	var err error
	d.lib.Do(func() {
		s := d.lib.NewScope(d.stream)
		defer s.Close()
		var r drawn
		if r, err = d.drawer.build(s, s.FromBytes(data, dtype, n, len(rows[0])), draws); err != nil {
			return
		}
		if shape := d.lib.Shape(r.ids); len(shape) != 1 || shape[0] != n || d.lib.DType(r.ids) != mlx.Int32 {
			err = fmt.Errorf("ids are %v %s", shape, d.lib.DType(r.ids))
			return
		}
		if s.Eval(r.arrays()...) {
			r.read(s, draws, choices, errs)
			for i, id := range s.Int32s(r.ids) {
				if id < 0 || int(id) >= len(rows[0]) || errs[i] != nil && id != 0 {
					err = fmt.Errorf("row %d: token %d of %d is no token to go on with", i, id, len(rows[0]))
				}
			}
		}
		err = errors.Join(err, s.Err())
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return choices, errs
}

// check draws on both sides and compares.
func (d *drawTest) check(rows [][]float32, dtype mlx.DType, draws []*backend.Draw) {
	d.t.Helper()
	got, errs := d.run(rows, dtype, draws)
	for i, draw := range draws {
		want, err := d.chooser.Choose(draw, slices.Clone(rows[i]))
		if !errors.Is(errs[i], err) {
			d.t.Fatalf("row %d of %d %s: error %v, want %v\n%+v", i, len(rows[i]), dtype, errs[i], err, *draw)
		}
		if err != nil {
			continue
		}
		d.rows++
		if got[i].Token != want.Token {
			if !d.nearly(rows[i], draw, got[i].Token) {
				d.t.Fatalf("row %d of %d %s: token %d (%g), want %d (%g)\n%+v", i, len(rows[i]), dtype,
					got[i].Token, rows[i][got[i].Token], want.Token, rows[i][want.Token], *draw)
			}
			d.near++
			if draw.Logprobs >= 0 { // the same alternatives, another token
				only := *draw
				only.Temperature, only.Edits, only.Mask = 0, []sample.Edit{{Token: got[i].Token, Divide: 1, Add: math.MaxFloat32}}, nil
				if want, err = d.chooser.Choose(&only, slices.Clone(rows[i])); err != nil {
					d.t.Fatal(err)
				}
			}
		}
		if draw.Logprobs >= 0 {
			d.checkLogprobs(got[i], want)
		}
	}
}

// nearly reports whether the host, too, would choose the token if an edge lay a
// little otherwise.
func (d *drawTest) nearly(row []float32, draw *backend.Draw, token int32) bool {
	if draw.Temperature < greedyBelow {
		return false
	}
	const little = 3e-7
	for _, p := range []float64{0, -little, little} {
		for _, m := range []float64{0, -little, little} {
			other := *draw
			if draw.TopP < 1 {
				other.TopP = min(max(1e-12, draw.TopP+p), 1)
			}
			other.MinP = min(draw.MinP*(1+m), 1)
			// Tokens follow each other in the order of their ids.
			from, to := max(0, draw.Uniform-little), min(draw.Uniform+little, 1-0x1p-53)
			for range 60 {
				other.Uniform = (from + to) / 2
				c, err := d.chooser.Choose(&other, slices.Clone(row))
				switch {
				case err != nil || c.Token == token:
					return err == nil
				case c.Token < token:
					from = other.Uniform
				default:
					to = other.Uniform
				}
			}
		}
	}
	return false
}

func (d *drawTest) checkLogprobs(got, want sample.Choice) {
	d.t.Helper()
	same := func(a, b sample.TokenLogprob) bool {
		return a.Token == b.Token && math.Abs(float64(a.Logprob-b.Logprob)) <= 2e-6*(4+math.Abs(float64(b.Logprob)))
	}
	if !same(got.TokenLogprob, want.TokenLogprob) {
		d.t.Fatalf("chosen %+v, want %+v", got.TokenLogprob, want.TokenLogprob)
	}
	if !slices.EqualFunc(got.Top, want.Top, same) {
		d.t.Fatalf("alternatives\n%v, want\n%v", got.Top, want.Top)
	}
}

func plainDraw() *backend.Draw { return &backend.Draw{TopP: 1, Logprobs: -1} }

func TestDraws(t *testing.T) {
	for _, compile := range []bool{false, true} {
		t.Run(fmt.Sprintf("compile=%v", compile), func(t *testing.T) {
			d := newDrawTest(t, compile)
			r := rand.New(rand.NewPCG(7, 7))
			batch := func(strange bool, pick func(row int) uint) {
				vocab := []int{33, 64, 257, 1000, 4096, 5000}[r.IntN(6)]
				dtype := []mlx.DType{mlx.Float32, mlx.Float16, mlx.BFloat16}[r.IntN(3)]
				var rows [][]float32
				var draws []*backend.Draw
				for i := range 1 + r.IntN(8) {
					row, draw := make([]float32, vocab), plainDraw()
					randomRow(r, row, strange && r.IntN(2) == 0)
					for j, f := range features {
						if pick(i)>>j&1 == 1 {
							f.add(r, draw, vocab)
						}
					}
					rows, draws = append(rows, row), append(draws, draw)
				}
				d.check(rows, dtype, draws)
			}
			for _, strange := range []bool{false, true} {
				for j := range features { // alone, with and without temperature
					for range 10 {
						batch(strange, func(int) uint { return 1 << j })
						batch(strange, func(int) uint { return 1<<j | 1 })
					}
				}
				for range 80 { // every row of a batch something else
					batch(strange, func(int) uint { return uint(r.Uint32()) })
					all := uint(r.Uint32()) | 1
					batch(strange, func(int) uint { return all })
				}
			}
			t.Logf("%d rows, %d of them on the other side of an edge", d.rows, d.near)
			if d.near > d.rows/200 {
				t.Errorf("%d of %d rows fell on the other side of an edge", d.near, d.rows)
			}
		})
	}
}

// TestDrawsOfLargeVocabularies draws from as many tokens as models have.
func TestDrawsOfLargeVocabularies(t *testing.T) {
	d := newDrawTest(t, false)
	r := rand.New(rand.NewPCG(8, 8))
	for _, vocab := range []int{151936, 50257, 262144} {
		rows := make([][]float32, len(features)+2)
		draws := make([]*backend.Draw, len(rows))
		for i := range rows {
			rows[i], draws[i] = make([]float32, vocab), plainDraw()
			randomRow(r, rows[i], false)
			features[0].add(r, draws[i], vocab)
			for j, f := range features {
				if j > 0 && (i == j || i == len(features)) {
					f.add(r, draws[i], vocab)
				}
			}
		}
		d.check(rows, mlx.BFloat16, draws)
		for i := range rows { // alone the graph is another
			d.check(rows[i:i+1], mlx.BFloat16, draws[i:i+1])
		}
	}
	t.Logf("%d rows, %d of them on the other side of an edge", d.rows, d.near)
}

// TestDrawsFollowTheDistribution draws one row at many places.
func TestDrawsFollowTheDistribution(t *testing.T) {
	d := newDrawTest(t, false)
	const n, vocab = 500, 40
	row := make([]float32, vocab)
	for i := range row {
		row[i] = float32(i%7) / 2
	}
	rows, draws := make([][]float32, n), make([]*backend.Draw, n)
	var total float64
	for i := range rows {
		rows[i] = row
		draws[i] = plainDraw()
		draws[i].Temperature, draws[i].Uniform = 1, (float64(i)+0.5)/n
	}
	for _, x := range row {
		total += math.Exp(float64(x))
	}
	choices, _ := d.run(rows, mlx.Float32, draws)
	count := make([]int, vocab)
	for i, c := range choices {
		count[c.Token]++
		if i > 0 && c.Token < choices[i-1].Token {
			t.Fatalf("token %d at %g comes after token %d", c.Token, draws[i].Uniform, choices[i-1].Token)
		}
	}
	for token, got := range count {
		if want := n * math.Exp(float64(row[token])) / total; math.Abs(float64(got)-want) > 1.01 {
			t.Errorf("token %d is drawn %d times of %d, want %.1f", token, got, n, want)
		}
	}
}

func TestNothingToDraw(t *testing.T) {
	d := newDrawTest(t, false)
	nan := float32(math.NaN())
	row := func() []float32 { return []float32{nan, 1, 2, float32(math.Inf(-1))} }
	with := func(change func(*backend.Draw)) *backend.Draw {
		draw := plainDraw()
		change(draw)
		return draw
	}
	draws := []*backend.Draw{
		with(func(d *backend.Draw) { d.Mask = []uint32{} }),
		with(func(d *backend.Draw) { d.Mask = []uint32{0b1001} }),
		with(func(d *backend.Draw) { d.Banned = []int32{1, 2} }),
		with(func(d *backend.Draw) { d.Mask, d.Banned = []uint32{0b0100}, []int32{2} }),
		with(func(d *backend.Draw) { d.Banned = []int32{1, 2, 1, 2}; d.Temperature, d.TopK, d.TopP = 1, 2, 0.5 }),
		with(func(d *backend.Draw) { d.Mask, d.Temperature, d.MinP, d.Logprobs = []uint32{0}, 1, 0.5, 2 }),
		with(func(d *backend.Draw) { d.Mask, d.Banned = []uint32{0b0110}, []int32{2} }),
	}
	var rows [][]float32
	for range draws {
		rows = append(rows, row())
	}
	choices, errs := d.run(rows, mlx.Float32, draws)
	for i, err := range errs[:6] {
		if !errors.Is(err, sample.ErrNoToken) {
			t.Errorf("draw %d: %v, token %d, want ErrNoToken", i, err, choices[i].Token)
		}
	}
	if errs[6] != nil || choices[6].Token != 1 {
		t.Errorf("beside the others: %v, token %d, want 1", errs[6], choices[6].Token)
	}
}
