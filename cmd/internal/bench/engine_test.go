package bench

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/model"
)

// device is an engine that samples on its device and holds its caller to what
// backend.DeviceSampler asks.
type device struct {
	backend.Engine // for what a benchmark must not call
	backend.KV
	lengths map[backend.SeqID]int
	rooms   map[backend.SeqID]int
	drew    map[backend.SeqID]bool // in the batch started last
	under   []*flight
	most    int // batches under way at once
	starts  int
	spanErr error
	failAt  int // the Start that fails; 0: none
	broken  []error
}

type flight struct {
	d *device
	b *backend.Batch
}

func (d *device) Model() model.Config { return model.Config{Vocab: 50} }
func (d *device) MaxBatchTokens() int { return 8 }
func (d *device) Capabilities() backend.Capabilities {
	return backend.Capabilities{DeviceSampling: true}
}

func (d *device) broke(format string, args ...any) {
	d.broken = append(d.broken, fmt.Errorf(format, args...))
}

func (d *device) Reserve(n int) (backend.SeqID, error) {
	id := backend.SeqID(len(d.rooms))
	d.rooms[id], d.lengths[id] = n, 0
	return id, nil
}

func (d *device) Truncate(id backend.SeqID, n int) error {
	if len(d.under) > 0 || n > d.lengths[id] {
		d.broke("sequence %d of %d cut to %d, %d batches under way", id, d.lengths[id], n, len(d.under))
	}
	d.lengths[id] = n
	delete(d.drew, id)
	return nil
}

func (d *device) Free(id backend.SeqID) error {
	if len(d.under) > 0 {
		d.broke("sequence %d freed while a batch is under way", id)
	}
	delete(d.lengths, id)
	return nil
}

func (d *device) Start(_ context.Context, b *backend.Batch) (backend.Started, error) {
	d.starts++
	if d.starts == d.failAt {
		return nil, errors.New("no step")
	}
	drew := map[backend.SeqID]bool{}
	for _, sp := range b.Spans {
		if sp.Pos != d.lengths[sp.Seq] {
			d.broke("sequence %d: position %d, it has %d", sp.Seq, sp.Pos, d.lengths[sp.Seq])
		}
		for _, token := range sp.Tokens {
			if token == backend.Drawn && (len(sp.Tokens) > 1 || !d.drew[sp.Seq]) {
				d.broke("sequence %d: no token was drawn", sp.Seq)
			}
		}
		d.lengths[sp.Seq] += len(sp.Tokens)
		if d.lengths[sp.Seq] > d.rooms[sp.Seq] {
			d.broke("sequence %d has outgrown its room of %d", sp.Seq, d.rooms[sp.Seq])
		}
		drew[sp.Seq] = sp.Draw != nil && sp.Want == backend.LastLogits
	}
	d.drew = drew
	f := &flight{d, b}
	for _, other := range d.under {
		if other.b == b {
			d.broke("a batch used again before its end")
		}
	}
	d.under = append(d.under, f)
	d.most = max(d.most, len(d.under))
	return f, nil
}

func (f *flight) Wait(context.Context) error {
	if len(f.d.under) == 0 || f.d.under[0] != f {
		f.d.broke("waited out of order")
		return nil
	}
	f.d.under = f.d.under[1:]
	for i := range f.b.Spans {
		f.b.Spans[i].Err = f.d.spanErr
	}
	return nil
}

// engine makes its KV the engine's.
type engine struct{ *device }

func (e engine) KV() backend.KV { return e.device }

func newDevice() *device {
	return &device{lengths: map[backend.SeqID]int{}, rooms: map[backend.SeqID]int{}}
}

func TestStepsRunAhead(t *testing.T) {
	for _, c := range []struct {
		depth, n, parallel int
		starts             int // batches of at most 8 tokens
	}{
		{0, 1, 1, 2}, {0, 5, 1, 6}, {20, 5, 1, 3 + 6}, {20, 5, 4, 4*3 + 6}, {1, 2, 8, 8 + 3},
	} {
		t.Run(fmt.Sprintf("%d after %d by %d", c.n, c.depth, c.parallel), func(t *testing.T) {
			d := newDevice()
			e := NewEngine(engine{d})
			test := Test{Generated: c.n, Depth: c.depth, Parallel: c.parallel}
			timed, err := e.Run(t.Context(), test)
			if err != nil {
				t.Fatal(err)
			}
			starts := d.starts
			// Again: what lies before is kept.
			if _, err := e.Run(t.Context(), test); err != nil {
				t.Fatal(err)
			}
			if again := d.starts - starts; again != c.n+1 {
				t.Errorf("%d starts the second time, expected %d", again, c.n+1)
			}
			e.Close()
			for _, err := range d.broken {
				t.Error(err)
			}
			if starts != c.starts || len(timed.Host) != c.n || d.most != 2 || len(d.under) != 0 || len(d.lengths) != 0 {
				t.Errorf("%d starts, expected %d; %d timed, expected %d; %d at once; %d left under way, %d sequences", starts, c.starts, len(timed.Host), c.n, d.most, len(d.under), len(d.lengths))
			}
		})
	}
}

func TestPromptsRunAhead(t *testing.T) {
	d := newDevice()
	if _, err := NewEngine(engine{d}).Run(t.Context(), Test{Prompt: 20, Parallel: 1}); err != nil {
		t.Fatal(err)
	}
	if d.starts != 3 || d.most != 2 || len(d.under) != 0 || len(d.broken) != 0 || !d.drew[0] {
		t.Errorf("%d starts, %d at once, %d left, %v", d.starts, d.most, len(d.under), d.broken)
	}
}

// Whatever fails, nothing is left under way when sequences are freed.
func TestStepsThatFail(t *testing.T) {
	for at := 1; at <= 9; at++ {
		d := newDevice()
		d.failAt = at
		if _, err := NewEngine(engine{d}).Run(t.Context(), Test{Generated: 5, Depth: 20, Parallel: 1}); err == nil || len(d.under) != 0 || len(d.broken) != 0 {
			t.Errorf("start %d failed: %v, %d left under way, %v", at, err, len(d.under), d.broken)
		}
	}
	d := newDevice()
	d.spanErr = errors.New("no token")
	if _, err := NewEngine(engine{d}).Run(t.Context(), Test{Generated: 5, Parallel: 1}); !errors.Is(err, d.spanErr) || len(d.under) != 0 || len(d.broken) != 0 {
		t.Errorf("a span failed: %v, %d left under way, %v", err, len(d.under), d.broken)
	}
}

func TestQuantiles(t *testing.T) {
	var samples []float64
	for i := range 200 {
		samples = append(samples, float64((i*77)%200+1)) // 1 to 200, shuffled
	}
	if q := QuantilesOf(samples); q != (Quantiles{Mean: 100.5, P50: 100, P90: 180, P99: 198, Max: 200}) {
		t.Errorf("%+v", q)
	}
	if q := QuantilesOf([]float64{3}); q != (Quantiles{3, 3, 3, 3, 3}) {
		t.Errorf("%+v", q)
	}
	if q := QuantilesOf(nil); q != (Quantiles{}) {
		t.Errorf("%+v", q)
	}
	if median, mean, deviation := Spread([]float64{2, 4, 4, 6}); median != 4 || mean != 4 || deviation < 1.632 || deviation > 1.633 {
		t.Errorf("%g %g %g", median, mean, deviation)
	}
}
