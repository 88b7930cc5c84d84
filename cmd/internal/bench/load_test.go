package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// counting is a server that counts three tokens a word and 20 around.
type counting struct {
	mu      sync.Mutex
	prompts []string
	busy    int
	most    int
	gone    int // the request from which on nothing answers; 0: none
	hold    time.Duration
}

func (c *counting) load() *Load {
	return &Load{Send: c.send, Note: func(string, ...any) {}, PromptTokens: 320, SharedTokens: 170, MaxTokens: 4, Seed: 3}
}

func (c *counting) send(_ context.Context, body any, event func([]byte) error) error {
	text := body.(chatRequest).Messages[0].Content
	c.mu.Lock()
	c.prompts = append(c.prompts, text)
	n := len(c.prompts)
	c.busy++
	c.most = max(c.most, c.busy)
	c.mu.Unlock()
	time.Sleep(c.hold)
	c.mu.Lock()
	c.busy--
	c.mu.Unlock()
	if c.gone > 0 && n >= c.gone {
		return fmt.Errorf("%w: at home", ErrGone)
	}
	return event(fmt.Appendf(nil, `{"usage":{"prompt_tokens":%d,"completion_tokens":4}}`, 20+3*len(strings.Fields(text))))
}

func TestLoadPrompts(t *testing.T) {
	var c counting
	l := c.load()
	if err := l.Fit(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	c.prompts = nil
	if _, _, err := l.Run(t.Context(), Level{Concurrency: 1, Requests: 3}, 0); err != nil {
		t.Fatal(err)
	}
	first, other := strings.Fields(c.prompts[0]), strings.Fields(c.prompts[1])
	if len(first) != 100 || len(other) != 100 || c.prompts[0] == c.prompts[1] {
		t.Errorf("prompts of %d and %d words, expected two different ones of 100", len(first), len(other))
	}
	same := 0
	for same < 100 && first[same] == other[same] {
		same++
	}
	if same != 50 {
		t.Errorf("they share %d words, expected 50", same)
	}
	// Another server gets the same, and further ones are different.
	var d counting
	m := d.load()
	if err := m.Like(t.Context(), l, 1); err != nil {
		t.Fatal(err)
	}
	d.prompts = nil
	for _, from := range []int{0, 3} {
		if _, _, err := m.Run(t.Context(), Level{Concurrency: 1, Requests: 3}, from); err != nil {
			t.Fatal(err)
		}
	}
	if d.prompts[0] != c.prompts[0] || d.prompts[2] != c.prompts[2] || d.prompts[3] == c.prompts[0] {
		t.Error("another server got other prompts")
	}
}

func TestLoadPace(t *testing.T) {
	for _, c := range []struct {
		name        string
		level       Level
		least, most int // under way at once
	}{
		{"closed", Level{Concurrency: 3, Requests: 20}, 1, 3},
		{"fewer than at once", Level{Concurrency: 30, Requests: 4}, 1, 4},
		{"open, faster than answers", Level{Rate: 10_000, Requests: 20}, 4, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := counting{hold: 20 * time.Millisecond}
			took, answers, err := s.load().Run(t.Context(), c.level, 0)
			if err != nil || len(answers) != c.level.Requests || took <= 0 {
				t.Fatalf("%d answers in %v, error %v", len(answers), took, err)
			}
			if len(s.prompts) != c.level.Requests || s.most < c.least || s.most > c.most {
				t.Errorf("%d requests, %d at once", len(s.prompts), s.most)
			}
		})
	}
	for _, level := range []Level{{Concurrency: 2, Requests: 50}, {Rate: 1000, Requests: 50}} {
		s := counting{gone: 5}
		if _, _, err := s.load().Run(t.Context(), level, 0); !errors.Is(err, ErrGone) || len(s.prompts) == 50 {
			t.Errorf("%+v: %d requests to a server that is gone, error %v", level, len(s.prompts), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := s.load().Run(ctx, level, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("%+v: after the context's end: error %v", level, err)
		}
	}
}

func TestSummarize(t *testing.T) {
	start := time.Now()
	at := func(ms ...int) (times []time.Time) {
		for _, m := range ms {
			times = append(times, start.Add(time.Duration(m)*time.Millisecond))
		}
		return times
	}
	answers := []Answer{
		{Prompt: 10, Cached: 4, Generated: 3, Pieces: at(100, 110, 130), Start: start, End: at(140)[0]},
		{Prompt: 20, Generated: 9, Pieces: at(300, 340), Start: start, End: at(400)[0]}, // nine tokens in two pieces
		{Start: start, End: at(5)[0], Err: errors.New("too much to do")},
		{Start: start, Pieces: at(50), End: at(60)[0]}, // no usage
	}
	s, failure := Summarize(Level{Concurrency: 2, Requests: 2}, 2*time.Second, answers, Limits{FirstToken: 200 * time.Millisecond, PerToken: 15 * time.Millisecond})
	if failure == nil || s.Failed != 1 || s.Requests != 4 || s.CountedBy != "pieces" {
		t.Errorf("%+v, failure %v", s, failure)
	}
	if s.Generated != 13 || s.Speed != 6.5 || s.RequestsPerSecond != 1.5 || s.Goodput != 1 || s.PromptTokens != 10 {
		t.Errorf("%+v", s)
	}
	if s.FirstToken.Max != 300 || s.FirstToken.P50 != 100 || s.Interval.P50 != 20 || s.PerToken.Max != 15 || s.Latency.Max != 400 {
		t.Errorf("%+v", s)
	}
	if s, _ := Summarize(Level{Requests: 1}, 0, nil, Limits{}); s.Speed != 0 || s.Goodput != 0 {
		t.Errorf("of nothing: %+v", s)
	}
}
