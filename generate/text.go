package generate

import (
	"strings"

	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
	"github.com/inferflux/inferflux/tokenizer"
)

// text turns tokens into text that may be shown: whole characters, none of
// which could still turn out to be part of a stop string.
type text struct {
	decoder     *tokenizer.Decoder
	stops       []string
	includeStop bool
	held        string // decoded, not shown yet
	shown       int    // bytes shown so far
	tokens      []span // not shown yet, in order
}

// span is a token with the place of its text in the answer.
type span struct {
	choice     sample.Choice
	start, end int
}

func newText(t *tokenizer.Tokenizer, stops []string, includeStop bool) *text {
	return &text{decoder: t.NewDecoder(true), stops: stops, includeStop: includeStop}
}

// push takes a token and returns what can be shown now.
func (t *text) push(c sample.Choice) Delta {
	start := t.shown + len(t.held)
	t.held += t.decoder.Push(c.Token)
	t.tokens = append(t.tokens, span{c, start, t.shown + len(t.held)})
	if d, stopped := t.stop(); stopped {
		return d
	}
	if n := len(t.held) - t.pendingStop(); n > 0 {
		return t.show(n)
	}
	return Delta{}
}

// end returns everything that is still held back.
func (t *text) end() Delta {
	t.held += t.decoder.Flush()
	if d, stopped := t.stop(); stopped {
		return d
	}
	return t.show(len(t.held))
}

// show gives out the first n bytes that are held, and the tokens that end there.
func (t *text) show(n int) Delta {
	d := Delta{Text: t.held[:n]}
	t.held = t.held[n:]
	t.shown += n
	i := 0
	for i < len(t.tokens) && t.tokens[i].end <= t.shown {
		d.Tokens = append(d.Tokens, Token{t.tokens[i].choice})
		i++
	}
	t.tokens = t.tokens[i:]
	return d
}

// stop looks for the earliest stop string; where two begin at one place, the
// first in the request's order counts.
func (t *text) stop() (Delta, bool) {
	at, which := -1, ""
	for _, s := range t.stops {
		if i := strings.Index(t.held, s); i >= 0 && (at < 0 || i < at) {
			at, which = i, s
		}
	}
	if at < 0 {
		return Delta{}, false
	}
	if t.includeStop {
		at += len(which)
	}
	d := Delta{Text: t.held[:at], Finish: scheduler.FinishStop, StopString: which}
	for _, s := range t.tokens {
		if s.start < t.shown+at {
			d.Tokens = append(d.Tokens, Token{s.choice})
		}
	}
	t.held, t.tokens = "", nil
	return d, true
}

// pendingStop is the length of the longest end of what is held that may be the
// beginning of a stop string.
func (t *text) pendingStop() int {
	longest := 0
	for _, s := range t.stops {
		for n := min(len(s)-1, len(t.held)); n > longest; n-- {
			if strings.HasSuffix(t.held, s[:n]) {
				longest = n
			}
		}
	}
	return longest
}
