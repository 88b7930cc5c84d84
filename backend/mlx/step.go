package mlx

import (
	"context"
	"errors"
	"fmt"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/paging"
	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/nn"
)

// step is the graph of one batch. Its arrays die with its scope as soon as the
// graph has been dispatched, so that MLX can reuse their memory.
type step struct {
	paging.Rows
	g        *mlx.Scope // of the graph
	e        *Engine
	lib      *mlx.Library
	ctx      context.Context
	spans    []backend.Span
	values   []value
	err      error
	pools    []poolUpdate
	carried  []mlx.Array // states
	appended mlx.Array   // by the last of our kernels that wrote to the pools

	tokens, meta, offsets, places mlx.Array // made on first use
	decode                        group
	prefill                       []prefill
	start, stop                   [2]int
	recording                     bool // of a graph; see replay.go
	generic                       bool // a layer's attention wasn't done by kernels of ours
	templates                     []mlx.KernelTemplate
	table                         []int32
}

// group is the rows of the batch that attend alone: spans of few tokens.
type group struct {
	rows   []int32 // of the batch
	pages  int     // of the longest sequence
	length int     // positions of the longest sequence
	index  mlx.Array
	masks  byNumber // by window
}

// prefill is a span of many tokens.
type prefill struct {
	from, to         int // rows
	histories, masks byNumber
}

// shortSpan is the longest span whose rows attend one by one, with those of other
// sequences, instead of together.
const shortSpan = 8

var errModel = errors.New("the model's operations don't fit together")

// fail records the first error; from then on operations do nothing.
func (s *step) fail(format string, args ...any) nn.Tensor {
	if s.err == nil {
		s.err = fmt.Errorf("%w: %s", errModel, fmt.Sprintf(format, args...))
	}
	return nn.Tensor{}
}

// begin starts the graph of a batch that has been laid out in s.Rows.
func (s *step) begin(ctx context.Context, spans []backend.Span) {
	s.ctx, s.spans, s.err, s.recording, s.generic = ctx, spans, nil, false, false
	s.values, s.pools, s.carried, s.appended = s.values[:0], s.pools[:0], s.carried[:0], mlx.Array{}
	s.tokens, s.meta, s.offsets, s.places = mlx.Array{}, mlx.Array{}, mlx.Array{}, mlx.Array{}
	s.decode, s.prefill = group{rows: s.decode.rows[:0]}, s.prefill[:0]
	for i, seq := range s.Seqs {
		from, to := s.First[i], s.First[i+1]
		if to-from > shortSpan {
			s.prefill = append(s.prefill, prefill{from: from, to: to})
			continue
		}
		for row := from; row < to; row++ {
			s.decode.rows = append(s.decode.rows, int32(row))
			s.decode.length = max(s.decode.length, int(s.Positions[row])+1)
		}
		s.decode.pages = max(s.decode.pages, len(seq.Pages))
	}
}

// failure is what went wrong in building the graph. An operation that MLX refuses leaves
// no array, over which later ones stumble: its error goes first.
func (s *step) failure() error {
	if err := s.g.Err(); err != nil {
		return err
	}
	return s.err
}

// ids is the token of every row, [rows] int32. Those that the batch before drew
// are taken from its result on the device.
func (s *step) ids() mlx.Array {
	if !s.tokens.IsZero() {
		return s.tokens
	}
	drawn := false
	for _, t := range s.Tokens {
		drawn = drawn || t == backend.Drawn
	}
	if !drawn {
		s.tokens = s.g.FromInt32s(s.Tokens, len(s.Tokens))
		return s.tokens
	}
	// Rows pick from the host's tokens, followed by the drawn ones.
	from := make([]int32, len(s.Tokens))
	same := len(s.Tokens) == s.e.drawn.n
	for row, t := range s.Tokens {
		from[row] = int32(row)
		if t == backend.Drawn {
			at := s.e.drawn.at[s.spans[s.Owner[row]].Seq]
			from[row] = int32(len(s.Tokens)) + at
			same = same && int(at) == row
		} else {
			same = false
		}
	}
	if same {
		s.tokens = s.e.drawn.ids
		return s.tokens
	}
	known := s.g.FromInt32s(s.Tokens, len(s.Tokens))
	all := s.g.Concatenate([]mlx.Array{known, s.e.drawn.ids}, 0)
	s.tokens = s.g.Take(all, s.g.FromInt32s(from, len(from)), 0)
	return s.tokens
}

// positions is the position of every row, [rows] int32.
func (s *step) positions() mlx.Array {
	if s.offsets.IsZero() {
		s.offsets = s.g.FromInt32s(s.Positions, len(s.Positions))
	}
	return s.offsets
}

// slot is the place of a position of a sequence in the pools.
func slot(pages []int32, position int) int32 {
	return pages[position/paging.PageTokens]*paging.PageTokens + int32(position%paging.PageTokens)
}

// slots is the places of a sequence's positions from to to.
func slots(dst []int32, pages []int32, from, to int) []int32 {
	for p := from; p < to; p++ {
		dst = append(dst, slot(pages, p))
	}
	return dst
}
