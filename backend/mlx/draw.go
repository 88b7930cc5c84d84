package mlx

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/sample"
)

// drawer chooses tokens on the device, as package sample's comment says, for all
// rows of a batch in one graph. What no row asks for isn't in the graph, and its
// shapes depend on the number of rows only: lists and counts are rounded up to
// powers of two.
//
// Weights are computed in float32, where the host has float64, and summed as
// integers, so that sums don't depend on their order. What error there is comes
// from the exponentials of single tokens; it moves a boundary between two tokens by
// 1e-7 of the whole at most. The host chooses another token only where the drawn
// place or an edge of top-p falls that close to a boundary, or an edge of min-p to
// a logit. Greedy tokens and top-k's are the host's own.
//
// All methods run on MLX's thread.
type drawer struct {
	lib       *mlx.Library
	stages    drawStages
	constants map[constant]mlx.Array

	words []uint32 // of masks, reused
}

// drawn is what a graph made by build computes.
type drawn struct {
	ids  mlx.Array // [n] int32; 0 where nothing can be chosen
	best mlx.Array // [n, 1] float32, the largest logit; minus infinity: none can

	// For log-probabilities, of the raw logits:
	chosen  mlx.Array // [n, 1] float32, the chosen tokens'
	largest mlx.Array // [n, 1] float32
	mass    mlx.Array // [n, 1] int64, the sum of exp(logit - largest), in units
	top     mlx.Array // [n, count] int64, keys of the largest ones, ascending

	vocab, padded int
}

// unit is how many units of weight the best token gets: so many that the sum of a
// padded vocabulary fits 62 bits, and lesser weights still have theirs.
func unit(padded int) float32 { return float32(uint64(1) << min(44, 62-bits.Len(uint(padded-1)))) }

// newDrawer makes a drawer. Unless its stages are compiled, each of their
// operations is a kernel of its own.
func newDrawer(lib *mlx.Library, compile bool) (*drawer, error) {
	d := &drawer{lib: lib, stages: newDrawStages(), constants: make(map[constant]mlx.Array)}
	if compile {
		if err := d.stages.compile(lib); err != nil {
			d.close()
			return nil, err
		}
	}
	return d, nil
}

func (d *drawer) close() {
	d.stages.free()
	for _, a := range d.constants {
		d.lib.Free(a)
	}
	clear(d.constants)
}

// greedyBelow is package sample's: under it the largest logit wins.
const greedyBelow = 1e-5

// reach is package sample's: what lies farther under the best, in nats after
// temperature, isn't drawn.
const reach = 40

// rowParams are the draws' parameters, a column of numbers each.
type rowParams struct {
	n                    int
	inverse, limit, keep []float32
	uniform, topP        fractions
	topK                 []int32

	greedy                 bool // all rows
	topKs, topPs           bool // some row has one
	largest                int  // how many of a row's largest logits truncation has to see
	logprobs, edits, masks bool // some row has them
	tops                   int  // alternatives to report, at most
}

func newRowParams(draws []*backend.Draw, vocab int) rowParams {
	n := len(draws)
	p := rowParams{n: n, greedy: true}
	p.inverse, p.limit, p.keep = make([]float32, n), make([]float32, n), make([]float32, n)
	p.uniform, p.topP, p.topK = newFractions(n), newFractions(n), make([]int32, n)
	for i, d := range draws {
		p.logprobs = p.logprobs || d.Logprobs >= 0
		p.tops = max(p.tops, min(d.Logprobs, vocab))
		p.masks = p.masks || d.Mask != nil
		p.edits = p.edits || len(d.Edits)+len(d.Banned) > 0
		// What a greedy row is: of the tokens that are no worse than the best, the
		// first.
		p.inverse[i], p.keep[i] = 1, 1
		p.topP.set(i, 1)
		if d.Temperature < greedyBelow {
			continue
		}
		p.greedy = false
		p.inverse[i] = float32(1 / d.Temperature)
		p.limit[i] = reach
		if d.MinP > 0 {
			p.limit[i] = float32(min(reach, -math.Log(d.MinP)))
		}
		p.uniform.set(i, d.Uniform)

		byK, byP := d.TopK > 0 && d.TopK < vocab, d.TopP < 1
		p.topK[i] = int32(vocab)
		if byK {
			p.topKs, p.topK[i] = true, int32(d.TopK)
		}
		if byP {
			p.topPs = true
			p.topP.set(i, d.TopP)
		}
		if byK || byP {
			p.keep[i] = 0
			p.largest = max(p.largest, int(p.topK[i]))
		}
	}
	return p
}

// fractions are numbers from 0 to 1, a row each, in units of 2^-53: how many of
// 2^-26, and how many more.
type fractions struct{ high, low []int32 }

func newFractions(n int) fractions { return fractions{make([]int32, n), make([]int32, n)} }

func (f fractions) set(i int, x float64) {
	u := uint64(x * (1 << 53))
	f.high[i], f.low[i] = int32(u>>fractionBits), int32(u&(1<<fractionBits-1))
}

const fractionBits = 27 // of the lower part

func (f fractions) upload(g *mlx.Scope) (high, low mlx.Array) {
	return g.FromInt32s(f.high, len(f.high), 1), g.FromInt32s(f.low, len(f.low), 1)
}

// column uploads a number a row, [n, 1].
func column(g *mlx.Scope, x []float32) mlx.Array { return g.FromFloat32s(x, len(x), 1) }

// editArrays uploads the changes to single logits, bans included: tokens, divisors and
// summands, [n, count] each. Places left over repeat a change or change nothing.
func (p *rowParams) editArrays(g *mlx.Scope, draws []*backend.Draw, vocab int) (tokens, divide, add mlx.Array) {
	count := 1
	for _, d := range draws {
		count = max(count, len(d.Edits)+len(d.Banned))
	}
	count = powerOfTwo(count)
	all := make([]sample.Edit, 0, p.n*count)
	for _, d := range draws {
		row := all[len(all):]
		for _, e := range d.Edits {
			if e.Token >= 0 && int(e.Token) < vocab {
				row = append(row, e)
			}
		}
		for _, token := range d.Banned {
			if token >= 0 && int(token) < vocab {
				row = ban(row, token)
			}
		}
		fill := sample.Edit{Divide: 1}
		if len(row) > 0 {
			fill = row[0]
		}
		for len(row) < count {
			row = append(row, fill)
		}
		all = all[:len(all)+count]
	}
	ids, by, plus := make([]int32, len(all)), make([]float32, len(all)), make([]float32, len(all))
	for i, e := range all {
		ids[i], by[i], plus[i] = e.Token, e.Divide, e.Add
	}
	return g.FromInt32s(ids, p.n, count), g.FromFloat32s(by, p.n, count), g.FromFloat32s(plus, p.n, count)
}

// ban makes a token impossible, in the place of its change if it has one.
func ban(edits []sample.Edit, token int32) []sample.Edit {
	e := sample.Edit{Token: token, Divide: 1, Add: float32(math.Inf(-1))}
	for i := range edits {
		if edits[i].Token == token {
			edits[i] = e
			return edits
		}
	}
	return append(edits, e)
}

// maskArray uploads the masks, [n, words].
func (d *drawer) maskArray(g *mlx.Scope, draws []*backend.Draw, vocab int) mlx.Array {
	words := (vocab + 31) / 32
	d.words = d.words[:0]
	for _, draw := range draws {
		end := len(d.words) + words
		if draw.Mask != nil {
			d.words = append(d.words, draw.Mask[:min(len(draw.Mask), words)]...)
		}
		for len(d.words) < end {
			if draw.Mask != nil {
				d.words = append(d.words, 0)
			} else {
				d.words = append(d.words, math.MaxUint32)
			}
		}
	}
	return g.FromUint32s(d.words, len(draws), words)
}

func powerOfTwo(n int) int { return 1 << bits.Len(uint(n-1)) }

// arrays are those that must be computed before read.
func (d *drawn) arrays() []mlx.Array {
	var all []mlx.Array
	for _, a := range []mlx.Array{d.ids, d.best, d.chosen, d.largest, d.mass, d.top} {
		if !a.IsZero() {
			all = append(all, a)
		}
	}
	return all
}

// read fetches what the device chose: a choice or an error for each draw. If the
// fetch itself fails, the scope has the error.
func (d *drawn) read(g *mlx.Scope, draws []*backend.Draw, out []sample.Choice, errs []error) {
	n := len(draws)
	ids, best := g.Int32s(d.ids), g.Float32s(d.best)
	var chosen, largest []float32
	var mass, keys []byte
	if !d.mass.IsZero() {
		chosen, largest, mass = g.Float32s(d.chosen), g.Float32s(d.largest), g.Bytes(d.mass)
	}
	if !d.top.IsZero() {
		keys = g.Bytes(d.top)
	}
	if g.Err() != nil || len(ids) != n || len(best) != n {
		return
	}
	count := len(keys) / 8 / max(n, 1)
	for i, draw := range draws {
		if best[i] == float32(math.Inf(-1)) {
			errs[i] = sample.ErrNoToken
			continue
		}
		out[i] = sample.Choice{TokenLogprob: sample.TokenLogprob{Token: ids[i]}}
		if draw.Logprobs < 0 {
			continue
		}
		norm := float64(largest[i]) + math.Log(float64(binary.LittleEndian.Uint64(mass[8*i:]))/float64(unit(d.padded)))
		out[i].Logprob = logprob(chosen[i], norm)
		if largest[i] >= -math.MaxFloat32 { // else there is no logit that any other could be an alternative to
			out[i].Top = d.alternatives(keys[8*count*i:8*count*(i+1)], min(draw.Logprobs, d.vocab), norm)
		}
	}
}

// alternatives decodes the n best of a row's keys.
func (d *drawn) alternatives(keys []byte, n int, norm float64) []sample.TokenLogprob {
	if n <= 0 {
		return nil
	}
	top := make([]sample.TokenLogprob, 0, n)
	for at := len(keys) - 8; at >= 0 && len(top) < n; at -= 8 {
		x, id := splitKey(int64(binary.LittleEndian.Uint64(keys[at:])), d.padded)
		if id < d.vocab && x == x {
			top = append(top, sample.TokenLogprob{Token: int32(id), Logprob: logprob(min(x, math.MaxFloat32), norm)})
		}
	}
	return top
}

// logprob is a raw logit's log-probability, in package sample's bounds.
func logprob(x float32, norm float64) float32 {
	p := float64(x) - norm
	if !(p >= sample.MinLogprob) {
		p = sample.MinLogprob
	}
	return float32(min(p, 0))
}
