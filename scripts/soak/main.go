// Command soak sends a server many short requests, good and bad, and checks every
// answer and that nothing grows.
//
//	go run ./scripts/soak -model MODEL [-backend mlx] [-requests 20000] [-parallel 16]
//
// It starts bin/inferfluxd with the model and asks each of -different requests alone, for
// the answers to expect: greedy and seeded, streamed and not, with prompts of many lengths
// that share beginnings. Then it sends -requests of them, so many at a time, in ten
// blocks. Of all requests, 5% are cut off by the client while they stream, 1% are
// malformed and 1% don't fit the context. Every answer must be the expected one, every
// refusal a 400. After the last block, no sequence may be left and no KV in use, and from
// the second block to the last (in the first, caches and pools still fill) these must not
// grow by more than -slack: the mean of the server's resident size, and, at rest after the
// block, its goroutines, its open files and what MLX has in use. What MLX keeps for reuse is
// left out.
//
// At the end the server gets SIGTERM while it answers: what runs must be answered to its
// end, what comes is refused, and the process ends with exit code 0.
//
// Exit code 1 if any of this isn't so. Linux only: it reads /proc.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"
)

const blocks = 10

type options struct {
	model, backend, program, log  string
	requests, parallel, different int
	prompt, tokens, context       int
	slack                         float64
	every                         time.Duration
	seed                          uint64
	wrongAllowed                  int
}

func main() {
	var o options
	flag.StringVar(&o.model, "model", "", "model file or folder")
	flag.StringVar(&o.backend, "backend", "", "backend to run it on")
	flag.StringVar(&o.program, "inferfluxd", "bin/inferfluxd", "the server's program")
	flag.StringVar(&o.log, "log", "soak.log", "file for the server's log")
	flag.IntVar(&o.requests, "requests", 20_000, "requests in all")
	flag.IntVar(&o.parallel, "parallel", 16, "requests at a time")
	flag.IntVar(&o.different, "different", 300, "different requests")
	flag.IntVar(&o.prompt, "prompt", 48, "words of a prompt, at most")
	flag.IntVar(&o.tokens, "tokens", 12, "tokens of an answer, at most")
	flag.IntVar(&o.context, "context", 256, "the model's context")
	flag.Float64Var(&o.slack, "slack", 0.03, "how much more the last block's means may be than the second's")
	flag.DurationVar(&o.every, "every", 100*time.Millisecond, "between two looks at the server's sizes")
	flag.Uint64Var(&o.seed, "seed", 1, "of the requests")
	flag.IntVar(&o.wrongAllowed, "wrong-allowed", 0, "wrong answers that are let pass: MLX's kernels round differently in company")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := o.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func (o *options) run(ctx context.Context) error {
	if o.model == "" {
		return errors.New("name a model with -model")
	}
	s, err := start(ctx, o)
	if err != nil {
		return err
	}
	defer s.kill()
	requests := o.plan()
	for i := range requests {
		if requests[i].want, err = s.answer(ctx, &requests[i]); err != nil {
			return fmt.Errorf("the first answer to request %d: %w", i, err)
		}
	}
	fmt.Fprintf(os.Stderr, "%d answers to expect\n", len(requests))

	var t tally
	sizes := watch(s, o.every)
	for block := range blocks {
		sizes.enter(block)
		begin := time.Now()
		n := o.requests / blocks
		if err := o.block(ctx, s, requests, &t, block, n); err != nil {
			return err
		}
		took := time.Since(begin)
		time.Sleep(300 * time.Millisecond) // what was cut off ends
		if err := sizes.rest(block); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "requests to %d: %.0f/s; %s; resident %.1f MB\n", (block+1)*n, float64(n)/took.Seconds(), &t, sizes.rests[block]["resident_bytes"]/1e6)
	}
	sizes.end()
	grew := sizes.report(os.Stdout, o.slack)
	fmt.Println(&t)
	return errors.Join(t.failure(o.wrongAllowed), growth(grew), s.empty(ctx), s.drain(ctx, requests))
}

// block sends n requests.
func (o *options) block(ctx context.Context, s *server, requests []request, t *tally, block, n int) error {
	var next atomic.Int64
	var wait sync.WaitGroup
	var failed atomic.Pointer[error]
	for worker := range o.parallel {
		wait.Go(func() {
			rng := rand.New(rand.NewPCG(o.seed, uint64(block*o.parallel+worker)))
			for int(next.Add(1)) <= n && ctx.Err() == nil && failed.Load() == nil {
				r := &requests[rng.IntN(len(requests))]
				var err error
				switch p := rng.Float64(); {
				case p < 0.05:
					err = s.cut(ctx, r, rng.IntN(3))
					t.cut.Add(1)
				case p < 0.06:
					err = s.refused(ctx, malformed[rng.IntN(len(malformed))])
					t.refused.Add(1)
				case p < 0.07:
					err = s.refused(ctx, o.tooLong())
					t.refused.Add(1)
				default:
					var got string
					if got, err = s.answer(ctx, r); err == nil && got != r.want {
						t.wrong.Add(1)
						t.note(fmt.Errorf("request %+v: answered %q, expected %q", r.body, got, r.want))
					}
					t.answered.Add(1)
				}
				if err != nil {
					t.note(err)
					if t.failed.Add(1) > 100 {
						err = fmt.Errorf("more than 100 requests failed, the last one: %w", err)
						failed.Store(&err)
					}
				}
			}
		})
	}
	wait.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return ctx.Err()
}

// tally counts what came of the requests.
type tally struct {
	answered, cut, refused, wrong, failed atomic.Int64

	mu    sync.Mutex
	first error
}

func (t *tally) note(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.first == nil {
		t.first = err
	}
}

func (t *tally) String() string {
	return fmt.Sprintf("%d answered, %d cut off, %d refused, %d wrong, %d failed", t.answered.Load(), t.cut.Load(), t.refused.Load(), t.wrong.Load(), t.failed.Load())
}

func (t *tally) failure(wrongAllowed int) error {
	if t.failed.Load() > 0 || t.wrong.Load() > int64(wrongAllowed) {
		return fmt.Errorf("%s; the first: %w", t, t.first)
	}
	return nil
}
