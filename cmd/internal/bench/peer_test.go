package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// stopwatch is a runner whose runs take what they are told to.
type stopwatch struct {
	took []time.Duration // of one run after the other
	host []time.Duration
	err  error
	runs []Test
}

func (s *stopwatch) Run(_ context.Context, t Test) (Timing, error) {
	s.runs = append(s.runs, t)
	if s.err != nil {
		return Timing{}, s.err
	}
	return Timing{Took: s.took[(len(s.runs)-1)%len(s.took)], Host: s.host}, nil
}

func TestMeasure(t *testing.T) {
	test := Test{Generated: 10, Depth: 3, Parallel: 2}
	a := &stopwatch{took: []time.Duration{2 * time.Second, time.Second, 4 * time.Second, 2 * time.Second}, host: []time.Duration{time.Microsecond, 3 * time.Microsecond}}
	b := &stopwatch{took: []time.Duration{time.Second}}
	c := &stopwatch{err: ErrUnsupported}
	var rounds []int
	got, err := Measure(t.Context(), test, 3, func(round int) { rounds = append(rounds, round) }, a, b, c)
	if err != nil {
		t.Fatal(err)
	}
	if s := got[0]; s.Median != 10 || s.Mean != 35./3 || s.First != 10 || s.StdDev == 0 || !cmp.Equal(s.Samples, []float64{20, 5, 10}) || s.HostStep == nil || s.HostStep.Mean != 2 {
		t.Errorf("%+v, host %+v", s, s.HostStep)
	}
	if got[1].Median != 20 || got[1].StdDev != 0 || got[1].HostStep != nil {
		t.Errorf("%+v", got[1])
	}
	if len(got[2].Samples) > 0 || got[2].Median != 0 {
		t.Errorf("of a runner that hasn't got the test: %+v", got[2])
	}
	if len(a.runs) != 4 || len(b.runs) != 4 || len(c.runs) != 1 {
		t.Errorf("%d, %d and %d runs, want 4, 4 and 1", len(a.runs), len(b.runs), len(c.runs))
	}
	if !cmp.Equal(rounds, []int{0, 1, 2, 3}) {
		t.Errorf("rounds %v", rounds)
	}
	failed := errors.New("no memory")
	if _, err := Measure(t.Context(), test, 3, func(int) {}, a, &stopwatch{err: failed}); !errors.Is(err, failed) || !strings.HasPrefix(err.Error(), "tg10@d3×2: ") {
		t.Errorf("error %v", err)
	}
}

// peerKey has the test binary be a peer that behaves as the value says.
const peerKey = "INFERFLUX_TEST_PEER"

func TestMain(m *testing.M) {
	mode := os.Getenv(peerKey)
	if mode == "" {
		os.Exit(m.Run())
	}
	about := About{Name: "another", Version: "7"}
	var run Runner = &stopwatch{took: []time.Duration{250 * time.Millisecond}}
	switch mode {
	case "dies at once":
		fmt.Fprintln(os.Stderr, "no such device")
		os.Exit(3)
	case "refuses":
		about.Failure = "no such model"
	case "lacks":
		run = &stopwatch{err: ErrUnsupported}
	case "fails":
		run = &stopwatch{err: errors.New("out of memory")}
	case "talks":
		fmt.Println("loading a model of\n 3 layers")
	case "dies":
		fmt.Println(`{"name": "another"}`)
		bufio.NewScanner(os.Stdin).Scan()
		fmt.Fprintln(os.Stderr, "segmentation fault")
		os.Exit(139)
	case "babbles":
		fmt.Println(`{"name": 3`)
		os.Exit(0)
	}
	if err := ServePeer(context.Background(), os.Stdin, os.Stdout, about, run); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func TestPeer(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mode, start, run string // parts of the errors
	}{
		{mode: "answers"},
		{mode: "talks"},
		{mode: "dies at once", start: "exit status 3: no such device"},
		{mode: "refuses", start: "no such model"},
		{mode: "babbles", start: "unexpected end of JSON"},
		{mode: "lacks", run: ErrUnsupported.Error()},
		{mode: "fails", run: "another: out of memory"},
		{mode: "dies", run: "another: exit status 139: segmentation fault"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			t.Setenv(peerKey, c.mode)
			p, err := StartPeer(t.Context(), program)
			if err != nil {
				if c.start == "" || !strings.Contains(err.Error(), c.start) {
					t.Fatal(err)
				}
				return
			}
			defer p.Close()
			if c.start != "" {
				t.Fatalf("it started, want %q", c.start)
			}
			for range 2 {
				timing, err := p.Run(t.Context(), Test{Prompt: 5, Parallel: 1})
				if c.run == "" {
					if err != nil || timing.Took != 250*time.Millisecond {
						t.Fatalf("%v, error %v", timing, err)
					}
					continue
				}
				if err == nil || c.mode != "dies" && !strings.Contains(err.Error(), c.run) {
					t.Fatalf("error %v, want %q", err, c.run)
				}
				if c.mode == "dies" { // the second time, nobody is there
					if !strings.Contains(err.Error(), "segmentation fault") {
						t.Fatalf("error %v, want %q", err, c.run)
					}
					return
				}
			}
		})
	}
	if _, err := StartPeer(t.Context(), filepath.Join(t.TempDir(), "nobody")); err == nil {
		t.Error("a program that isn't there started")
	}
}

func TestServePeer(t *testing.T) {
	if err := ServePeer(t.Context(), strings.NewReader("pp512\n"), new(strings.Builder), About{}, &stopwatch{}); err == nil {
		t.Error("a line that is no test is taken")
	}
	for _, args := range [][]string{nil, {"lib", "model", "two", "1", "1", "1", "true"}} {
		if err := ServeLlama(t.Context(), args, strings.NewReader(""), new(strings.Builder)); err == nil {
			t.Errorf("arguments %q are taken", args)
		}
	}
	var said strings.Builder
	if err := ServeLlama(t.Context(), []string{t.TempDir(), "model", "1", "1", "1", "1", "true"}, strings.NewReader(""), &said); err != nil || !strings.Contains(said.String(), `"failure":"`) {
		t.Errorf("with no library it says %s, error %v", &said, err)
	}
}

// Each type of weights can be made; some are multiplied with.
func TestKernels(t *testing.T) {
	got, err := measureKernels(t.Context(), KernelOptions{Tiers: []string{"x"}, Types: []string{"q4_0", "mlx3", "mlx-nvfp4"}, Rows: []int{1, 64}, Threads: 2, Bytes: 1 << 20}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 6 {
		t.Fatalf("%d results, want 6", len(got))
	}
	for _, r := range got {
		if r.GOPS <= 0 || r.GBps <= 0 || r.PeakGBps <= 0 || r.Share <= 0 || r.Bound != "memory" && r.Bound != "arithmetic" {
			t.Errorf("%+v", r)
		}
	}
	for _, typ := range weightTypes {
		if w, err := typ.make(typ.name, 16); err != nil || w.Bytes() <= 0 {
			t.Errorf("%s: %v, error %v", typ.name, w.Shape, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := measureKernels(ctx, KernelOptions{Types: []string{"q4_0"}, Rows: []int{1}, Threads: 1, Bytes: 1 << 20}, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context's end: error %v", err)
	}
}
