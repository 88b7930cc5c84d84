package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
)

// TestSchedules plays the stories in testdata/schedules. The model of all of them counts
// up: after a prompt of n tokens, which are 1 to n, it says n+1, n+2, ….
//
//	new [running=2] [queue=4] [batch=8] [chunk=4] [kv=32] [context=32] [default=8] [unmixed] [device] [guess=n]
//	    a scheduler, with these options and this engine, which may sample; n tokens are guessed at most
//	submit name prompt=n [max=n] [min=n] [stop=(t,…)] [expected=n] [penalized] [gone]
//	    a request, of which n tokens are expected as they will come; of a caller who has gone already
//	step [n]
//	    turns the loop; shows the batch as name[from:to] for a prompt and
//	    name@position for a generating sequence, with a question mark when its
//	    token isn't known yet, and + and how many tokens were guessed, then what each was told. With a device, what it
//	    starts and what it is waited for
//	cancel name, stop name
//	    what a caller can do
//	fail [name] [times=n], die [after=n], full, broken, leak, stuck
//	    the engine's next batches (those that name is in) fail; it fails for good,
//	    before which n batches fail if they have several spans; it has no memory;
//	    it fails for good when memory is asked for; it can't free any more, or not
//	    truncate
//	spoil [name] [times=n], perish, choke token, astray token
//	    the device's next batches (those that name is in) fail when they are waited
//	    for; it fails for good then; it can't choose after this token, or chooses
//	    one that doesn't exist
//	stumble token
//	    after this token the model says 991
//	drain, close, stats
func TestSchedules(t *testing.T) {
	datadriven.Walk(t, "testdata/schedules", func(t *testing.T, path string) {
		st := &stage{t: t}
		datadriven.RunTest(t, path, st.play)
	})
}

type stage struct {
	t      *testing.T
	engine *fakeEngine
	device *fakeDevice // or nil
	s      *scheduler.Stepper
	names  []string
	cast   map[string]*scheduler.Sequence
	ids    map[backend.SeqID]string
	prompt map[string]int
	told   map[string]bool // the last event
	ran    []string
}

func (st *stage) play(t *testing.T, d *datadriven.TestData) string {
	name := ""
	if len(d.CmdArgs) > 0 && len(d.CmdArgs[0].Vals) == 0 {
		name = d.CmdArgs[0].Key
	}
	switch d.Cmd {
	case "new":
		st.raise(d)
	case "submit":
		return st.submit(d, name)
	case "step":
		n := 1
		if name != "" {
			_, _ = fmt.Sscan(name, &n)
		}
		var out strings.Builder
		for range n {
			out.WriteString(st.step())
		}
		return out.String()
	case "cancel":
		st.cast[name].Cancel()
	case "stop":
		st.cast[name].Stop()
	case "fail":
		fail := st.failing(d, name)
		st.engine.before = func(_ context.Context, b *backend.Batch) error { return fail(b) }
	case "spoil":
		st.device.beforeWait = st.failing(d, name)
	case "perish":
		st.device.beforeWait = func(*backend.Batch) error {
			return fmt.Errorf("the device is gone: %w", backend.ErrEngineFailed)
		}
	case "choke", "astray":
		chokes := d.Cmd == "choke"
		st.device.onChoice = func(tokens []int32, c *sample.Choice) error {
			if fmt.Sprint(tokens[len(tokens)-1]) != name {
				return nil
			}
			if chokes {
				return sample.ErrNoToken
			}
			c.Token = 1 << 20
			return nil
		}
	case "die":
		after := 0
		d.MaybeScanArgs(t, "after", &after)
		st.engine.before = func(_ context.Context, b *backend.Batch) error {
			if after--; after >= 0 && len(b.Spans) > 1 {
				return errors.New("too hot")
			} else if after >= 0 {
				return nil
			}
			return fmt.Errorf("the device is gone: %w", backend.ErrEngineFailed)
		}
	case "stumble":
		st.engine.fill = func(row []float32, tokens []int32) {
			countUp(row, tokens)
			if fmt.Sprint(tokens[len(tokens)-1]) == name {
				clear(row)
				row[len(row)-9] = 10
			}
		}
	case "full":
		st.engine.capacity = 0
	case "broken":
		st.engine.reserveError = fmt.Errorf("the device is gone: %w", backend.ErrEngineFailed)
	case "leak":
		st.engine.freeError = errors.New("no such sequence")
	case "stuck":
		st.engine.truncateError = errors.New("no such sequence")
	case "drain":
		st.s.Drain()
	case "close":
		st.ran = nil
		st.s.Close()
		var out strings.Builder
		for _, line := range st.ran {
			out.WriteString(line + "\n")
		}
		return out.String() + st.news()
	case "stats":
		return counted(st.s.Stats().Totals)
	default:
		t.Fatalf("unknown command %q", d.Cmd)
	}
	return ""
}

// counted is what isn't zero in totals.
func counted(t scheduler.Totals) string {
	var out []string
	v := reflect.ValueOf(t)
	for i := range v.NumField() {
		if n := v.Field(i).Uint(); n > 0 {
			out = append(out, fmt.Sprintf("%s:%d", v.Type().Field(i).Name, n))
		}
	}
	return strings.Join(out, " ") + "\n"
}

// failing makes the next batches fail, or those that name is in.
func (st *stage) failing(d *datadriven.TestData, name string) func(*backend.Batch) error {
	times := 1
	d.MaybeScanArgs(st.t, "times", &times)
	return func(b *backend.Batch) error {
		in := name == "" || slices.ContainsFunc(b.Spans, func(s backend.Span) bool { return st.name(s.Seq) == name })
		if in && times > 0 {
			times--
			return errors.New("too hot")
		}
		return nil
	}
}

func (st *stage) raise(d *datadriven.TestData) {
	e, o := newFakeEngine(st.t), scheduler.Options{MaxRunning: 2, MaxQueue: 4, BatchTokens: 8, PrefillChunk: 4, DefaultMaxTokens: 8}
	e.capacity, e.context = 32, 32
	for key, v := range map[string]*int{
		"running": &o.MaxRunning, "queue": &o.MaxQueue, "batch": &o.BatchTokens, "chunk": &o.PrefillChunk,
		"default": &o.DefaultMaxTokens, "kv": &e.capacity, "context": &e.context,
	} {
		d.MaybeScanArgs(st.t, key, v)
	}
	policy := ""
	d.MaybeScanArgs(st.t, "policy", &policy)
	d.MaybeScanArgs(st.t, "client-running", &o.ClientRunning)
	d.MaybeScanArgs(st.t, "client-queue", &o.ClientQueue)
	o.Policy = scheduler.Policy(policy)
	if d.HasArg("guess") {
		o.Speculation.Lookup, e.caps.SpeculativeDecoding = true, true
		d.ScanArgs(st.t, "guess", &o.Speculation.Tokens)
	}
	e.caps.MixedBatch = !d.HasArg("unmixed")
	// What a step ran is read off the engine, not the scheduler.
	*st = stage{t: st.t, engine: e, cast: map[string]*scheduler.Sequence{}, ids: map[backend.SeqID]string{}, prompt: map[string]int{}, told: map[string]bool{}}
	if d.HasArg("device") {
		st.device = newFakeDevice(e)
		st.s = scheduler.NewStepper(&deviceRecorder{st.device, st}, o)
	} else {
		st.s = scheduler.NewStepper(&recorder{e, st}, o)
	}
	st.t.Cleanup(st.s.Close)
}

// recorder notes the batches that an engine is given.
type recorder struct {
	*fakeEngine
	st *stage
}

func (r *recorder) Run(ctx context.Context, b *backend.Batch) error {
	line := r.st.line(b)
	err := r.fakeEngine.Run(ctx, b)
	r.st.note(line, err)
	return err
}

// deviceRecorder notes the batches that a device is given and waited for.
type deviceRecorder struct {
	*fakeDevice
	st *stage
}

func (r *deviceRecorder) Start(ctx context.Context, b *backend.Batch) (backend.Started, error) {
	line := r.st.line(b)
	f, err := r.fakeDevice.Start(ctx, b)
	r.st.note("start "+line, err)
	return &recordedFlight{f, r.st, line}, err
}

type recordedFlight struct {
	backend.Started
	st   *stage
	line string
}

func (f *recordedFlight) Wait(ctx context.Context) error {
	err := f.Started.Wait(ctx)
	f.st.note("wait "+f.line, err)
	return err
}

func (st *stage) line(b *backend.Batch) string {
	var spans []string
	for _, s := range b.Spans {
		name := st.name(s.Seq)
		switch {
		case s.Pos < st.prompt[name]:
			spans = append(spans, fmt.Sprintf("%s[%d:%d]", name, s.Pos, s.Pos+len(s.Tokens)))
		case s.Tokens[0] == backend.Drawn:
			spans = append(spans, fmt.Sprintf("%s@%d?", name, s.Pos))
		case len(s.Tokens) > 1:
			spans = append(spans, fmt.Sprintf("%s@%d+%d", name, s.Pos, len(s.Tokens)-1))
		default:
			spans = append(spans, fmt.Sprintf("%s@%d", name, s.Pos))
		}
	}
	return strings.Join(spans, " ")
}

func (st *stage) note(line string, err error) {
	if err != nil {
		line += " failed"
	}
	st.ran = append(st.ran, line)
}

// name tells whose an engine's sequence is.
func (st *stage) name(id backend.SeqID) string {
	for _, name := range st.names {
		if scheduler.Holds(st.cast[name], id) {
			st.ids[id] = name // for when it has ended
		}
	}
	if name, ok := st.ids[id]; ok {
		return name
	}
	return "?"
}

func (st *stage) submit(d *datadriven.TestData, name string) string {
	r := scheduler.Request{Sampling: sample.Defaults()}
	r.Sampling.Temperature = 0
	var prompt int
	d.ScanArgs(st.t, "prompt", &prompt)
	d.MaybeScanArgs(st.t, "max", &r.MaxTokens)
	d.MaybeScanArgs(st.t, "min", &r.MinTokens)
	var stops []string
	if arg, ok := d.Arg("stop"); ok {
		stops = arg.Vals
	}
	for _, s := range stops {
		var id int32
		_, _ = fmt.Sscan(s, &id)
		r.StopTokens = append(r.StopTokens, id)
	}
	for i := range prompt {
		r.Prompt = append(r.Prompt, int32(i+1))
	}
	if d.HasArg("penalized") { // too little to change what is said
		r.Sampling.RepetitionPenalty = 1.001
	}
	expected := 0
	d.MaybeScanArgs(st.t, "expected", &expected)
	for i := range expected {
		r.Expected = append(r.Expected, int32(prompt+i+1))
	}
	d.MaybeScanArgs(st.t, "client", &r.Client)
	d.MaybeScanArgs(st.t, "priority", &r.Priority)
	ctx, cancel := context.WithCancel(st.t.Context())
	if d.HasArg("gone") {
		cancel()
	}
	st.t.Cleanup(cancel)
	q, err := st.s.Submit(ctx, r)
	if err != nil {
		return err.Error() + "\n"
	}
	st.names, st.cast[name], st.prompt[name] = append(st.names, name), q, prompt
	return ""
}

func (st *stage) step() string {
	st.ran = nil
	more := st.s.Step()
	var out strings.Builder
	for _, line := range st.ran {
		out.WriteString(line + "\n")
	}
	if len(st.ran) == 0 {
		switch {
		case st.s.Drained():
			out.WriteString("drained\n")
		case !more:
			out.WriteString("idle\n")
		}
	}
	out.WriteString(st.news())
	if err := st.s.Failed(); err != nil {
		fmt.Fprintf(&out, "failed: %s\n", err)
	}
	if len(st.engine.seqs) != st.s.Stats().Running && st.s.Failed() == nil {
		fmt.Fprintf(&out, "the engine holds %d sequences, %d run\n", len(st.engine.seqs), st.s.Stats().Running)
	}
	return out.String()
}

// news is what the callers have been told since the last time.
func (st *stage) news() string {
	var out strings.Builder
	for _, name := range st.names {
		var said []string
		for !st.told[name] {
			e, err := st.s.Peek(st.cast[name])
			if err != nil {
				break
			}
			if e.HasToken {
				said = append(said, fmt.Sprint(e.Choice.Token))
			}
			if e.Finish != scheduler.Running {
				said = append(said, string(e.Finish))
			}
			if e.Err != nil {
				said = append(said, "error: "+e.Err.Error())
			}
			st.told[name] = e.Finish != scheduler.Running || e.Err != nil
		}
		if said != nil {
			fmt.Fprintf(&out, "  %s: %s\n", name, strings.Join(said, " "))
		}
	}
	if stats := st.s.Stats(); out.Len() > 0 || len(st.ran) > 0 {
		fmt.Fprintf(&out, "  %d running, %d waiting, kv %d of %d\n", stats.Running, stats.Waiting, stats.KV.Reserved, stats.KV.Capacity)
	}
	return out.String()
}
