package generate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/inferflux/inferflux/grammar"
)

// compiling is a model that only compiles, and whose vocabulary is had by way of wait.
func compiling(t *testing.T, wait func()) *Model {
	t.Helper()
	tokens := make([][]byte, 257)
	for i := range 256 {
		tokens[i] = []byte{byte(i)}
	}
	v, err := grammar.NewVocabulary(tokens, nil, []int32{256})
	if err != nil {
		t.Fatal(err)
	}
	g := newGrammars(nil)
	g.vocabulary = func() (*grammar.Vocabulary, error) {
		wait()
		return v, nil
	}
	return &Model{grammars: g}
}

func regexSpec(source string) grammar.Spec { return grammar.Spec{Kind: grammar.Regex, Source: source} }

// Who asks for the same gets the same, made once; refusals too.
func TestCompilationsAreShared(t *testing.T) {
	var began atomic.Int32
	open := make(chan struct{})
	m := compiling(t, func() {
		began.Add(1)
		<-open
	})
	const clients = 20
	got, errs := make([]*grammar.Compiled, clients), make([]error, clients)
	var wait sync.WaitGroup
	for i := range clients {
		source := "a+"
		if i%2 == 1 {
			source = "("
		}
		wait.Go(func() { got[i], errs[i] = m.Compile(t.Context(), regexSpec(source)) })
	}
	close(open)
	wait.Wait()
	for i := range clients {
		if syntax := new(grammar.SyntaxError); i%2 == 1 && !errors.As(errs[i], &syntax) {
			t.Errorf("the error is %v", errs[i])
		}
		if i%2 == 0 && (got[i] == nil || got[i] != got[0] || errs[i] != nil) {
			t.Errorf("client %d got %p, the first %p: %v", i, got[i], got[0], errs[i])
		}
	}
	if n := began.Load(); n != 2 {
		t.Errorf("%d compilations of two constraints", n)
	}
}

// Only so many run at once; the others wait for their turn.
func TestCompilationsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		step := make(chan struct{})
		m := compiling(t, func() {
			most.Store(max(most.Load(), running.Add(1)))
			<-step
			running.Add(-1)
		})
		var wait sync.WaitGroup
		for i := range 10 {
			wait.Go(func() {
				if _, err := m.Compile(t.Context(), regexSpec(fmt.Sprintf("a{%d}", i+1))); err != nil {
					t.Error(err)
				}
			})
		}
		for range 10 {
			synctest.Wait()
			if n := running.Load(); n < 1 || n > compileMost {
				t.Errorf("%d compilations run", n)
			}
			step <- struct{}{}
		}
		wait.Wait()
		if most.Load() != compileMost {
			t.Errorf("at most %d ran at once, expected %d", most.Load(), compileMost)
		}
	})
}

// One goes on as long as somebody waits for it, and no longer.
func TestCompilationsEndWithTheirClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		m := compiling(t, func() { <-open })
		spec := regexSpec("(a|b)*a(a|b){11}")
		ask := func(ctx context.Context) chan error {
			done := make(chan error, 1)
			go func() {
				_, err := m.Compile(ctx, spec)
				done <- err
			}()
			synctest.Wait()
			return done
		}
		one, leaveOne := context.WithCancel(t.Context())
		two, leaveTwo := context.WithCancel(t.Context())
		defer leaveTwo()
		first, second := ask(one), ask(two)
		leaveOne()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the one who left got %v", err)
		}
		open <- struct{}{}
		if err := <-second; err != nil {
			t.Errorf("the one who stayed got %v", err)
		}
		spec = regexSpec("(a|b)*a(a|b){10}")
		three, leaveThree := context.WithCancel(t.Context())
		third := ask(three)
		leaveThree()
		if err := <-third; !errors.Is(err, context.Canceled) {
			t.Errorf("the one who left got %v", err)
		}
		if n := len(m.grammars.made); n != 1 {
			t.Errorf("%d constraints are kept", n)
		}
		fourth := ask(t.Context())
		open <- struct{}{}
		open <- struct{}{}
		if err := <-fourth; err != nil {
			t.Errorf("the one who came later got %v", err)
		}
	})
}

// What was used longest ago goes first.
func TestCompilationsKept(t *testing.T) {
	m := compiling(t, func() {})
	get := func(i int) *grammar.Compiled {
		c, err := m.Compile(t.Context(), regexSpec(fmt.Sprintf("a{%d}", i+1)))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first, second := get(0), get(1)
	for i := 2; i < compiledKept; i++ {
		get(i)
	}
	get(0)
	get(compiledKept)
	if get(0) != first {
		t.Error("what was used lately is gone")
	}
	if get(1) == second {
		t.Error("what was used longest ago is still there")
	}
	if n := len(m.grammars.made); n != compiledKept {
		t.Errorf("%d are kept", n)
	}
}
