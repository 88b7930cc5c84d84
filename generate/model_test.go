package generate_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/chat"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/scheduler"
)

func TestGenerate(t *testing.T) {
	v := newVocabulary(t, "one", " two", " three", "\xf0\x9f", "\x99\x82")
	m := newModel(t, v)
	words := v.encode(t, "one", " two", " three")
	for _, c := range []struct {
		name   string
		set    func(r *generate.Request)
		text   string
		tokens int // in the deltas
		usage  int // completion tokens
		finish scheduler.FinishReason
	}{
		{"to the end", func(*generate.Request) {}, "one two three", 3, 4, "stop"},
		{"max tokens", func(r *generate.Request) { r.MaxTokens = 2 }, "one two", 2, 2, "length"},
		{"max tokens within a character", func(r *generate.Request) {
			r.Prompt = v.encode(t, "one", "\xf0\x9f", "\x99\x82")
			r.MaxTokens = 2
		}, "one\uFFFD", 2, 2, "length"},
		{"the end within a character", func(r *generate.Request) { r.Prompt = v.encode(t, "one", "\xf0\x9f") }, "one\uFFFD", 2, 3, "stop"},
		{"a byte that is no character", func(r *generate.Request) { r.Prompt = v.encode(t, "\xff", "one") }, "\uFFFDone", 2, 3, "stop"},
		{"stop token", func(r *generate.Request) { r.StopTokens = words[1:2] }, "one", 1, 2, "stop"},
		{"stop token, included", func(r *generate.Request) { r.StopTokens = words[1:2]; r.IncludeStop = true }, "one two", 2, 2, "stop"},
		{"the model's own stop token has no text to include", func(r *generate.Request) { r.IncludeStop = true }, "one two three", 3, 4, "stop"},
		{"ignoring the end", func(r *generate.Request) { r.IgnoreEOS = true; r.MaxTokens = 6 }, "one two three", 6, 6, "length"},
		{"ignoring the end, but not a stop token", func(r *generate.Request) { r.IgnoreEOS = true; r.StopTokens = words[2:3] }, "one two", 2, 3, "stop"},
		{"control tokens in the answer", func(r *generate.Request) { r.Prompt = []int32{words[0], v.bos, words[1]} }, "one two", 3, 4, "stop"},
		{"control tokens that are shown", func(r *generate.Request) { r.Prompt = []int32{words[0], v.bos, words[1]}; r.Shown = []int32{v.bos} }, "one<s> two", 3, 4, "stop"},
		{"other control tokens than those shown", func(r *generate.Request) { r.Prompt = []int32{words[0], v.bos, words[1]}; r.Shown = []int32{v.eos} }, "one two", 3, 4, "stop"},
		{"stop string at the last token", func(r *generate.Request) { r.Stop = []string{"three"}; r.MaxTokens = 3 }, "one two ", 3, 3, "stop"},
		{"stop string begins at the last token", func(r *generate.Request) { r.Stop = []string{"three!"}; r.MaxTokens = 3 }, "one two three", 3, 3, "length"},
		// A stop string counts only in the text of tokens after the minimum.
		{"min tokens", func(r *generate.Request) { r.Stop = []string{"o"}; r.MinTokens = 1 }, "one tw", 2, 2, "stop"},
		{"min tokens over all", func(r *generate.Request) { r.Stop = []string{"o", "t"}; r.MinTokens = 3; r.MaxTokens = 3 }, "one two three", 3, 3, "length"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request(words)
			c.set(&r)
			got, deltas := generated(t, m, r)
			want := generate.Usage{PromptTokens: len(r.Prompt), CompletionTokens: c.usage}
			if got.text != c.text || len(got.tokens) != c.tokens || got.finish != string(c.finish) || got.usage != want {
				t.Errorf("got %v\nwant %q, %d tokens, %s, %+v", got, c.text, c.tokens, c.finish, want)
			}
			if last := deltas[len(deltas)-1]; last.Finish == scheduler.Running {
				t.Errorf("the last delta is %+v", last)
			}
		})
	}
}

func TestLogprobs(t *testing.T) {
	v := newVocabulary(t, "one", " two")
	m := newModel(t, v)
	r := request(v.encode(t, "one", " two"))
	r.Sampling.Logprobs = 2
	_, deltas := generated(t, m, r)
	if len(deltas) != 3 {
		t.Fatalf("%d deltas", len(deltas))
	}
	for i, d := range deltas[:2] {
		if len(d.Tokens) != 1 || len(d.Tokens[0].Top) != 2 || d.Tokens[0].Top[0].Token != r.Prompt[i] || d.Tokens[0].Logprob > 0 {
			t.Errorf("delta %d has the tokens %+v", i, d.Tokens)
		}
	}
}

// Sixteen streams at once say what each says alone.
func TestManyStreams(t *testing.T) {
	v := newVocabulary(t)
	m := newModel(t, v)
	var all sync.WaitGroup
	for i := range 16 {
		text := fmt.Sprintf("number %d says: é🙂 %d", i, i*i)
		var prompt []int32
		for j := range len(text) {
			prompt = append(prompt, v.ids[text[j:j+1]])
		}
		s, err := m.Generate(t.Context(), request(prompt))
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			got := ""
			for {
				d, err := s.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Error(err)
					return
				}
				got += d.Text
			}
			if got != text {
				t.Errorf("got %q, want %q", got, text)
			}
		})
	}
	all.Wait()
}

func TestStreamEnds(t *testing.T) {
	v := newVocabulary(t, "one", " two", " three")
	words := v.encode(t, "one", " two", " three")
	freed := func(t *testing.T, m *generate.Model) {
		t.Helper()
		if err := m.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if st := m.Scheduler().Stats(); st.Running != 0 || st.KV.Sequences != 0 {
			t.Errorf("afterwards: %+v", st)
		}
	}
	endless := request(words)
	endless.IgnoreEOS, endless.MaxTokens = true, 190

	t.Run("context", func(t *testing.T) {
		m := newModel(t, v)
		ctx, cancel := context.WithCancel(t.Context())
		s, err := m.Generate(ctx, endless)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		for err == nil {
			_, err = s.Next()
		}
		// The answer may have been quicker than the cancellation.
		if !errors.Is(err, context.Canceled) && !errors.Is(err, io.EOF) {
			t.Errorf("Next: %v", err)
		}
		if _, err := s.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("Next after the end: %v", err)
		}
		freed(t, m)
	})
	t.Run("close", func(t *testing.T) {
		m := newModel(t, v)
		s, err := m.Generate(t.Context(), endless)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		freed(t, m)
		got, _ := read(t, s)
		if got.finish != string(scheduler.FinishCanceled) && got.finish != string(scheduler.FinishLength) {
			t.Errorf("ended with %s", got.finish)
		}
		if ts := s.Timings(); ts.Done.IsZero() || ts.PromptTokens != 3 {
			t.Errorf("timings: %+v", ts)
		}
	})
	t.Run("stop string", func(t *testing.T) {
		m := newModel(t, v)
		r := endless
		r.Stop = []string{"two"}
		if got, _ := generated(t, m, r); got.text != "one " {
			t.Errorf("got %v", got)
		}
		freed(t, m)
		// To the scheduler, too, this is an answer that came to its end.
		if totals := m.Scheduler().Stats().Totals; totals.Finished != 1 || totals.Cancelled != 0 {
			t.Errorf("totals: %+v", totals)
		}
	})
	t.Run("stop string, engine idle after it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newParrot(v)
			m := generate.New(generate.ModelOptions{ID: "slow", Tokenizer: v.Tokenizer, Engine: p})
			defer m.Close()
			p.hold = make(chan struct{}, 3)
			r := endless
			r.Stop = []string{"two"}
			s, err := m.Generate(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			// The stop string is in the second token.
			p.hold <- struct{}{}
			p.hold <- struct{}{}
			if got, _ := read(t, s); got.text != "one " {
				t.Errorf("got %v", got)
			}
			p.hold <- struct{}{} // a third may be under way already, but no fourth follows
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := m.Drain(ctx); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("engine error", func(t *testing.T) {
		p := newParrot(v)
		p.failing = errors.New("too hot")
		m := generate.New(generate.ModelOptions{ID: "hot", Tokenizer: v.Tokenizer, Engine: p})
		defer m.Close()
		s, err := m.Generate(t.Context(), endless)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Next(); !errors.Is(err, p.failing) {
			t.Errorf("Next: %v", err)
		}
		if _, err := s.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("Next after the end: %v", err)
		}
		freed(t, m)
	})
}

func TestPrompts(t *testing.T) {
	v := newVocabulary(t)
	m := newModel(t, v)
	ids := func(parts ...any) (all []int32) {
		for _, p := range parts {
			switch p := p.(type) {
			case int32:
				all = append(all, p)
			case string:
				for i := range len(p) {
					all = append(all, v.ids[p[i:i+1]])
				}
			}
		}
		return all
	}
	hello := "hello"
	got, err := m.ChatPrompt(chat.Input{Messages: []chat.Message{{Role: "user", Content: &hello}}})
	// The template writes <s> itself: there is one, not two.
	if want := ids(v.bos, "user: hello", v.eos); err != nil || !slices.Equal(got, want) {
		t.Errorf("ChatPrompt: %v, %v; want %v", got, err, want)
	}
	if got, want := m.RawPrompt("hello</s>"), ids(v.bos, "hello", v.eos); !slices.Equal(got, want) {
		t.Errorf("RawPrompt: %v, want %v", got, want)
	}
	var refused *chat.TemplateError
	if _, err := m.ChatPrompt(chat.Input{Messages: []chat.Message{{Role: "narrator", Content: &hello}}}); !errors.As(err, &refused) || refused.Message != "no narrators" {
		t.Errorf("a conversation that the template refuses: %v", err)
	}
	raw := generate.New(generate.ModelOptions{ID: "raw", Tokenizer: v.Tokenizer, Engine: newParrot(v)})
	defer raw.Close()
	if _, err := raw.ChatPrompt(chat.Input{}); !errors.Is(err, generate.ErrNoTemplate) {
		t.Errorf("without a template: %v", err)
	}
}

func TestModelClose(t *testing.T) {
	v := newVocabulary(t)
	p, errFile := newParrot(v), errors.New("the file won't close")
	files := 0
	m := generate.New(generate.ModelOptions{
		ID: "m", Aliases: []string{"alias"}, File: "/models/m.gguf", Tokenizer: v.Tokenizer, Engine: p,
		Choice: backend.Choice{Backend: "parrot", FallbackReason: "no other"},
		Close: func() error {
			if p.closed != 1 {
				t.Error("the file is closed before the engine")
			}
			files++
			return errFile
		},
	})
	if m.ID() != "m" || m.File() != "/models/m.gguf" || m.Choice().FallbackReason != "no other" || m.Template() != nil || m.Tokenizer() != v.Tokenizer || m.Engine() != p {
		t.Error("the model doesn't tell what it was made of")
	}
	for range 2 {
		if err := m.Close(); !errors.Is(err, errFile) {
			t.Errorf("Close: %v", err)
		}
	}
	if p.closed != 1 || files != 1 {
		t.Errorf("the engine was closed %d times, the file %d times", p.closed, files)
	}
	if _, err := m.Generate(t.Context(), request([]int32{1})); !errors.Is(err, scheduler.ErrStopped) {
		t.Errorf("Generate after Close: %v", err)
	}
}
