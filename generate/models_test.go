package generate_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/scheduler"
)

// loading is a load function that waits to be told how it ends.
func loading(v *vocabulary, id string) (load func(context.Context) (*generate.Model, error), end chan error) {
	end = make(chan error, 1)
	return func(ctx context.Context) (*generate.Model, error) {
		select {
		case err := <-end:
			if err != nil {
				return nil, err
			}
			return generate.New(generate.ModelOptions{ID: id, Tokenizer: v.Tokenizer, Engine: newParrot(v)}), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, end
}

func states(m *generate.Models) string {
	var all []string
	for _, e := range m.List() {
		all = append(all, e.ID+" "+e.State.String())
	}
	return strings.Join(all, ", ")
}

func TestModels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVocabulary(t)
		m := generate.NewModels()
		var unknown *generate.UnknownModelError
		if _, err := m.Get(""); !errors.As(err, &unknown) {
			t.Errorf("the default of none: %v", err)
		}

		first, endFirst := loading(v, "first")
		second, endSecond := loading(v, "second")
		third, endThird := loading(v, "third")
		for _, a := range []struct {
			id      string
			aliases []string
			load    func(context.Context) (*generate.Model, error)
		}{{"first", []string{"one", "1"}, first}, {"second", nil, second}, {"third", nil, third}} {
			if err := m.Add(t.Context(), a.id, a.aliases, a.load); err != nil {
				t.Fatal(err)
			}
		}
		for _, names := range [][]string{{"first"}, {"one"}, {"fourth", "second"}, {"fourth", ""}, {""}} {
			if err := m.Add(t.Context(), names[0], names[1:], first); err == nil {
				t.Errorf("the names %q were accepted", names)
			}
		}
		synctest.Wait()
		if got := states(m); got != "first loading, second loading, third loading" {
			t.Errorf("at first: %s", got)
		}
		var notReady *generate.NotReadyError
		if _, err := m.Get("one"); !errors.As(err, &notReady) || notReady.State != generate.Loading || notReady.ID != "first" {
			t.Errorf("a model that loads: %v", err)
		}
		if err := m.Ready(); err == nil || !strings.Contains(err.Error(), "third") {
			t.Errorf("Ready while loading: %v", err)
		}
		if _, err := m.Get("fourth"); !errors.As(err, &unknown) || unknown.Name != "fourth" || !slices.Equal(unknown.Known, []string{"first", "second", "third"}) {
			t.Errorf("an unknown model: %v", err)
		}

		// They load one after the other, in order.
		endSecond <- errors.New("no such file")
		endThird <- nil
		synctest.Wait()
		if got := states(m); got != "first loading, second loading, third loading" {
			t.Errorf("while the first loads: %s", got)
		}
		endFirst <- nil
		synctest.Wait()
		if got := states(m); got != "first ready, second failed, third ready" {
			t.Errorf("at last: %s", got)
		}
		for _, name := range []string{"", "first", "one", "1"} {
			if model, err := m.Get(name); err != nil || model.ID() != "first" {
				t.Errorf("Get(%q): %v, %v", name, model, err)
			}
		}
		if _, err := m.Get("second"); !errors.As(err, &notReady) || notReady.State != generate.Failed || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("a model that failed: %v", err)
		}
		if err := m.Ready(); err == nil || strings.Contains(err.Error(), "third") {
			t.Errorf("Ready with one failed: %v", err)
		}

		model, err := m.Get("third")
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Close(t.Context()); err != nil {
			t.Errorf("Close: %s", err)
		}
		if _, err := model.Generate(t.Context(), request([]int32{1})); !errors.Is(err, scheduler.ErrStopped) {
			t.Errorf("Generate after Close: %v", err)
		}
		if err := m.Add(t.Context(), "fourth", nil, first); err == nil {
			t.Error("a model was added to a closed set")
		}
	})
}

// A model whose engine fails later is not ready any more.
func TestModelFails(t *testing.T) {
	v := newVocabulary(t)
	p := newParrot(v)
	p.failing = backend.ErrEngineFailed
	m := generate.NewModels()
	err := m.Add(t.Context(), "m", nil, func(context.Context) (*generate.Model, error) {
		return generate.New(generate.ModelOptions{ID: "m", Tokenizer: v.Tokenizer, Engine: p}), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var model *generate.Model
	for model == nil {
		model, _ = m.Get("m")
	}
	s, err := model.Generate(t.Context(), request([]int32{1}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(); !errors.Is(err, backend.ErrEngineFailed) {
		t.Errorf("Next: %v", err)
	}
	var notReady *generate.NotReadyError
	if _, err := m.Get("m"); !errors.As(err, &notReady) || notReady.State != generate.Failed || !errors.Is(err, backend.ErrEngineFailed) {
		t.Errorf("Get: %v", err)
	}
	if err := m.Ready(); !errors.Is(err, backend.ErrEngineFailed) {
		t.Errorf("Ready: %v", err)
	}
	if e := m.List()[0]; e.State != generate.Failed || e.Err == nil {
		t.Errorf("the entry: %+v", e)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Errorf("Close: %s", err)
	}
	if p.closed != 1 {
		t.Errorf("the engine was closed %d times", p.closed)
	}
}

func TestModelsLoadPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := generate.NewModels()
		for id, load := range map[string]func(context.Context) (*generate.Model, error){
			"boom":    func(context.Context) (*generate.Model, error) { panic("boom") },
			"nothing": func(context.Context) (*generate.Model, error) { return nil, nil },
		} {
			if err := m.Add(t.Context(), id, nil, load); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for _, e := range m.List() {
			if e.State != generate.Failed || e.Err == nil || strings.Contains(e.Err.Error(), "goroutine") {
				t.Errorf("the entry: %+v", e)
			}
		}
		if err := m.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Close ends loading, and cuts what doesn't end in time.
func TestModelsClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVocabulary(t)
		m := generate.NewModels()
		p := newParrot(v)
		p.hold = make(chan struct{})
		err := m.Add(t.Context(), "m", nil, func(context.Context) (*generate.Model, error) {
			return generate.New(generate.ModelOptions{ID: "m", Tokenizer: v.Tokenizer, Engine: p}), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		endless, _ := loading(v, "endless")
		if err := m.Add(t.Context(), "endless", nil, endless); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		model, err := m.Get("m")
		if err != nil {
			t.Fatal(err)
		}
		s, err := model.Generate(t.Context(), request([]int32{1}))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := m.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close while a stream runs: %v", err)
		}
		if got, _ := read(t, s); got.finish != string(scheduler.FinishCanceled) {
			t.Errorf("the stream ended with %v", got)
		}
		if p.closed != 1 || len(p.seqs) != 0 {
			t.Errorf("the engine was closed %d times and holds %d sequences", p.closed, len(p.seqs))
		}
		if e := m.List()[1]; e.State != generate.Failed || !errors.Is(e.Err, context.Canceled) {
			t.Errorf("the model that was loading: %+v", e)
		}
		if err := m.Close(t.Context()); err != nil || p.closed != 1 {
			t.Errorf("Close again: %v; the engine was closed %d times", err, p.closed)
		}
	})
}

// A load that doesn't heed its context doesn't hold up Close, and what it gives at
// last is freed.
func TestModelsCloseDuringDeafLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVocabulary(t)
		m, p := generate.NewModels(), newParrot(v)
		end := make(chan struct{})
		err := m.Add(t.Context(), "deaf", nil, func(context.Context) (*generate.Model, error) {
			<-end
			return generate.New(generate.ModelOptions{ID: "deaf", Tokenizer: v.Tokenizer, Engine: p}), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := m.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		close(end)
		synctest.Wait()
		if p.closed != 1 {
			t.Errorf("the engine was closed %d times", p.closed)
		}
		if _, err := m.Get("deaf"); err == nil {
			t.Error("a model became ready after Close")
		}
		if err := m.Close(t.Context()); err != nil {
			t.Errorf("Close again: %s", err)
		}
	})
}
