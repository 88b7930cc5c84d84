package mlx

import (
	"slices"

	"github.com/inferflux/inferflux/mlx"
)

// Recorded graphs. When every sequence of a batch goes on by one token, the graph
// is that of the step before with other numbers in it. It is recorded once for a
// number of rows and a range of lengths, and called again with the new tokens and
// positions, which spares the host the building of it, step by step. Only our own
// kernels take the lengths as data, so it is done where they are.

// graphKey is what a recorded graph depends on.
type graphKey struct{ rows, width, shares int }

// recorded is a graph, with weights and pools as its constants.
type recorded struct {
	key    graphKey
	call   *mlx.Compiled
	failed error
}

// maxRecorded is how many graphs are kept, the latest used ones. One of a large
// model takes some hundred kilobytes.
const maxRecorded = 48

// replay computes the logits by a recorded graph, if the batch is of that kind.
func (s *step) replay() (mlx.Array, bool, error) {
	e := s.e
	if e.fused == nil || len(s.Logits) != len(s.Tokens) || len(s.Tokens) != len(s.spans) || !e.pure {
		return mlx.Array{}, false, nil
	}
	meta := s.metadata()
	key := graphKey{rows: len(s.Tokens), width: s.e.meta.width, shares: s.shares(e.config.Heads, e.config.KVHeads, s.decode.length)}
	i := slices.IndexFunc(e.recorded, func(r *recorded) bool { return r.key == key })
	if i < 0 {
		r := &recorded{key: key}
		var err error
		if r.call, err = e.lib.Compile(func(g *mlx.Scope, in []mlx.Array) []mlx.Array { return s.record(g, in, r) }, false); err != nil {
			return mlx.Array{}, true, err
		}
		if len(e.recorded) >= maxRecorded {
			e.recorded[0].call.Free()
			e.recorded = slices.Delete(e.recorded, 0, 1)
		}
		i = len(e.recorded)
		e.recorded = append(e.recorded, r)
	}
	r := e.recorded[i]
	e.recorded = append(slices.Delete(e.recorded, i, i+1), r) // the latest used comes last
	logits := first(s.g.Call(r.call, s.ids(), meta))
	if r.failed != nil {
		e.forget()
		return mlx.Array{}, true, r.failed
	}
	return logits, true, s.g.Err()
}

// record builds the graph of a step in a scope of its own.
func (s *step) record(g *mlx.Scope, in []mlx.Array, r *recorded) []mlx.Array {
	outer := *s
	defer func() {
		values := s.values[:0]
		*s = outer
		s.values = values
	}()
	s.g, s.tokens, s.meta, s.recording = g, in[0], in[1], true
	_, logits, err := s.e.forward()
	if err != nil {
		r.failed = err
		return nil
	}
	return []mlx.Array{logits}
}

// forget frees the recorded graphs: the pools that they write to are replaced.
func (e *Engine) forget() {
	for _, r := range e.recorded {
		r.call.Free()
	}
	e.recorded = nil
}
