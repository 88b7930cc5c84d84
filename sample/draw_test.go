package sample_test

import (
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/inferflux/inferflux/sample"
)

// carryOut does what a Draw says, step by step as its definition has them, in
// float64 and by sorting. Another answer than the returned one may be right only
// if sure is false: a threshold then lies closer to a token than rounding.
func carryOut(d sample.Draw, row []float32) (token int32, sure bool) {
	const close = 1e-8
	x := make([]float64, len(row))
	for i, l := range row {
		x[i] = float64(l)
	}
	for _, e := range d.Edits {
		v := x[e.Token]
		if v > 0 {
			v /= float64(e.Divide)
		} else {
			v *= float64(e.Divide)
		}
		x[e.Token] = float64(float32(v + float64(e.Add)))
	}
	var ids []int // best first, the lowest id first among equals
	for i := range x {
		allowed := d.Mask == nil || i/32 < len(d.Mask) && d.Mask[i/32]>>(i%32)&1 == 1
		if allowed && !slices.Contains(d.Banned, int32(i)) {
			ids = append(ids, i)
		}
	}
	slices.SortFunc(ids, func(a, b int) int { return cmp.Or(cmp.Compare(x[b], x[a]), cmp.Compare(a, b)) })
	if d.Temperature < 1e-5 {
		return int32(ids[0]), true
	}
	weight := func(i int) float64 { return math.Exp((x[i] - x[ids[0]]) / d.Temperature) }
	sum := func() (total float64) {
		for _, i := range ids {
			total += weight(i)
		}
		return total
	}
	sure = true
	near := func(a, b, scale float64) {
		if math.Abs(a-b) < close*scale {
			sure = false
		}
	}
	if d.TopK > 0 {
		ids = ids[:min(d.TopK, len(ids))]
	}
	if d.TopP < 1 {
		total, held, n := sum(), 0.0, 0
		for ; n < len(ids) && (n == 0 || held < d.TopP*total); n++ {
			near(held, d.TopP*total, total)
			held += weight(ids[n])
		}
		near(held, d.TopP*total, total)
		ids = ids[:n]
	}
	n := 1
	for ; n < len(ids) && weight(ids[n]) >= d.MinP; n++ {
		near(weight(ids[n]), d.MinP, 1)
	}
	if n < len(ids) {
		near(weight(ids[n]), d.MinP, 1)
	}
	ids = ids[:n]
	slices.Sort(ids)
	total, passed := sum(), 0.0
	for _, i := range ids {
		near(passed, d.Uniform*total, total)
		passed += weight(i)
		if passed > d.Uniform*total {
			near(passed, d.Uniform*total, total)
			return int32(i), sure
		}
	}
	return int32(ids[len(ids)-1]), false
}

// TestDraw holds Sample, and a Draw carried out by a Chooser, to the definition,
// over random rows, parameters, masks and bans, for several tokens in a row. The
// draws of memoryless samplers are made two ahead.
func TestDraw(t *testing.T) {
	var chooser sample.Chooser
	certain := 0
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(r, "vocabulary")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 1))
		p := with(func(p *sample.Params) {
			p.Temperature = rapid.SampledFrom([]float64{0, 0.2, 0.7, 1, 4}).Draw(r, "temperature")
			p.TopK = rapid.SampledFrom([]int{0, 0, 1, 5, 40, 1000}).Draw(r, "top_k")
			p.TopP = rapid.SampledFrom([]float64{1, 1, 0.95, 0.5, 0.01}).Draw(r, "top_p")
			p.MinP = rapid.SampledFrom([]float64{0, 0, 0.05, 1}).Draw(r, "min_p")
			p.RepetitionPenalty = rapid.SampledFrom([]float64{1, 1, 1.3, 0.7}).Draw(r, "repetition_penalty")
			p.FrequencyPenalty = rapid.SampledFrom([]float64{0, 0, 0.3}).Draw(r, "frequency_penalty")
			p.PresencePenalty = rapid.SampledFrom([]float64{0, 0, -0.4}).Draw(r, "presence_penalty")
			p.LogitBias = map[int32]float64{}
			for range rapid.IntRange(0, 4).Draw(r, "biases") {
				p.LogitBias[int32(random.IntN(n))] = random.NormFloat64() * 3
			}
		})
		if p.MinP == 1 {
			p.MinP = 0.999 // with 1 nothing is sure
		}
		prompt := make([]int32, rapid.IntRange(0, 8).Draw(r, "prompt"))
		for i := range prompt {
			prompt[i] = int32(random.IntN(n))
		}
		rows := rapid.SampledFrom([]float64{0, 0.5, 3}).Draw(r, "step") // 0: continuous
		a, b := newSampler(t, p, n), newSampler(t, p, n)
		a.Prompt(prompt)
		b.Prompt(prompt)
		drawn := 0
		var draws []sample.Draw
		for i := range 6 {
			row := make([]float32, n)
			for i := range row {
				row[i] = float32(random.NormFloat64() * 3)
				if rows > 0 { // ties
					row[i] = float32(math.Round(float64(row[i])/rows) * rows)
				}
			}
			var mask []uint32
			var banned []int32
			if rapid.Bool().Draw(r, "masked") && !b.Memoryless() {
				mask = make([]uint32, random.IntN(n/32+2))
				for i := range mask {
					mask[i] = random.Uint32()
				}
				if len(mask) == 0 || mask[0]&1 == 0 && n < 32 {
					mask = []uint32{1}
				}
				mask[0] |= 1
				for range random.IntN(4) {
					banned = append(banned, int32(random.IntN(n)))
				}
			}
			for len(draws) == 0 || b.Memoryless() && drawn < i+2 {
				draws = append(draws, b.Draw(mask, banned))
				drawn++
			}
			d := draws[0]
			draws = draws[1:]
			want, sure := carryOut(d, row)
			got, err := a.Sample(slices.Clone(row), mask, banned)
			if err != nil {
				r.Fatal(err)
			}
			again, err := chooser.Choose(&d, slices.Clone(row))
			if err != nil {
				r.Fatal(err)
			}
			b.Accept(again.Token)
			if got.Token != again.Token {
				r.Fatalf("token %d: Sample gave %d, Draw and Choose %d", i, got.Token, again.Token)
			}
			if sure {
				certain++
				if got.Token != want {
					r.Fatalf("token %d: got %d, want %d by %+v", i, got.Token, want, d)
				}
			}
		}
	})
	if certain < 100 {
		t.Errorf("only %d draws could be checked", certain)
	}
}

// TestDrawEdits: bias and penalties are one edit a token, of the vocabulary.
func TestDrawEdits(t *testing.T) {
	s := newSampler(t, with(func(p *sample.Params) {
		p.RepetitionPenalty, p.FrequencyPenalty, p.PresencePenalty = 2, 0.25, 0.5
		p.LogitBias = map[int32]float64{7: 3, 2: -1, 4: 100}
	}), 10)
	s.Prompt([]int32{7, 8, 8, -1, 10, 1 << 30})
	s.Accept(8)
	s.Accept(2)
	s.Accept(8)
	want := []sample.Edit{{2, 2, -1 - 0.25 - 0.5}, {4, 1, 100}, {7, 2, 3}, {8, 2, -2*0.25 - 0.5}}
	if d := s.Draw(nil, nil); !slices.Equal(d.Edits, want) {
		t.Errorf("edits %+v, want %+v", d.Edits, want)
	}
	plain := newSampler(t, with(func(*sample.Params) {}), 10)
	plain.Prompt([]int32{1, 2})
	plain.Accept(3)
	if d := plain.Draw(nil, nil); len(d.Edits) != 0 {
		t.Errorf("without bias and penalties there are the edits %+v", d.Edits)
	}
	for name, set := range map[string]func(*sample.Params){
		"":           func(p *sample.Params) { p.LogitBias = map[int32]float64{1: 1}; p.TopP = 0.5 },
		"repetition": func(p *sample.Params) { p.RepetitionPenalty = 1.1 },
		"presence":   func(p *sample.Params) { p.PresencePenalty = 0.1 },
		"frequency":  func(p *sample.Params) { p.FrequencyPenalty = -0.1 },
	} {
		if got := newSampler(t, with(set), 10).Memoryless(); got != (name == "") {
			t.Errorf("with the penalty %q memoryless is %t", name, got)
		}
	}
}

// TestDrawBanned: what a draw bans is of the vocabulary, and leaves something.
func TestDrawBanned(t *testing.T) {
	s := newSampler(t, with(func(*sample.Params) {}), 40)
	every := make([]int32, 40)
	for i := range every {
		every[i] = int32(i)
	}
	for _, c := range []struct {
		name   string
		mask   []uint32
		banned []int32
		want   []int32
	}{
		{"none", nil, nil, nil},
		{"plain", nil, []int32{3, 39}, []int32{3, 39}},
		{"foreign", nil, []int32{-1, 3, 40}, []int32{3}},
		{"all but one", nil, every[1:], every[1:]},
		{"all", nil, every, nil},
		{"all allowed", []uint32{8}, []int32{3, 3, 4}, nil},
		{"all allowed but one", []uint32{8, 1}, []int32{3, 4, 3}, []int32{3, 4, 3}},
		{"bits beyond the vocabulary", []uint32{8, 0xffffff00}, []int32{3, 2, 1}, nil},
		{"empty mask", []uint32{}, []int32{3}, nil},
	} {
		given := slices.Clone(c.banned)
		if got := s.Draw(c.mask, c.banned).Banned; !slices.Equal(got, c.want) || !slices.Equal(given, c.banned) {
			t.Errorf("%s: %v bans %v (and is %v then), want %v", c.name, given, got, c.banned, c.want)
		}
	}
}

// TestRewind: draws that came to nothing are made again with the same numbers.
func TestRewind(t *testing.T) {
	for _, temperature := range []float64{0, 1} {
		a := newSampler(t, with(func(p *sample.Params) { p.Temperature = temperature }), 10)
		b := newSampler(t, with(func(p *sample.Params) { p.Temperature = temperature }), 10)
		var want, got []float64
		for range 6 {
			want = append(want, a.Draw(nil, nil).Uniform)
			a.Accept(0)
		}
		take := func(n int) {
			for range n {
				got = append(got, b.Draw(nil, nil).Uniform)
				b.Accept(0)
			}
		}
		take(1)
		b.Draw(nil, nil)
		b.Draw(nil, nil)
		b.Rewind()
		take(2)
		first := b.Draw(nil, nil)
		b.Draw(nil, nil) // ahead
		b.Accept(0)
		b.Rewind()
		b.Rewind()
		got = append(got, first.Uniform)
		take(2)
		if !slices.Equal(got, want) || temperature > 0 && slices.Contains(want, 0) || temperature == 0 && slices.Max(want) > 0 {
			t.Errorf("at temperature %v: numbers %v, want %v", temperature, got, want)
		}
	}
}

// TestChooserNoToken: an error that leaves the chooser as good as before.
func TestChooserNoToken(t *testing.T) {
	var c sample.Chooser
	d := sample.Draw{Temperature: 1, TopP: 0.5, TopK: 3, Logprobs: 2}
	if _, err := c.Choose(&d, []float32{nan, ninf, nan, nan}); !errors.Is(err, sample.ErrNoToken) {
		t.Errorf("a row of nothing: %v", err)
	}
	if got, err := c.Choose(&d, []float32{nan, ninf, 3, nan}); err != nil || got.Token != 2 {
		t.Errorf("a row with one token: %+v, %v", got, err)
	}
}
