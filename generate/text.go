package generate

import (
	"slices"

	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
	"github.com/inferflux/inferflux/tokenizer"
)

// text turns tokens into text that may be shown: whole characters, none of
// which could still turn out to be part of a stop string.
//
// The text is searched byte by byte, so what comes out doesn't depend on how
// tokens cut it: the stop string that is complete first ends the answer, and of
// several that are complete at the same byte, the longest.
type text struct {
	tokenizer   *tokenizer.Tokenizer
	decoder     *tokenizer.Decoder
	controls    []int32 // control tokens whose spelling is text
	stops       []stop
	includeStop bool
	held        string // decoded, not shown yet
	shown       int    // bytes shown so far
	tokens      []span // not shown yet, in order
}

// span is a token with the place of its text in the answer.
type span struct {
	choice     sample.Choice
	start, end int // equal until there is text
}

func newText(t *tokenizer.Tokenizer, stops []stop, includeStop bool, controls []int32) *text {
	return &text{tokenizer: t, decoder: t.NewDecoder(len(controls) == 0), controls: controls, stops: stops, includeStop: includeStop}
}

// push takes a token and returns what can be shown now. A stop string can't end
// the answer in the text of a token for which search is false.
func (t *text) push(c sample.Choice, search bool) Delta {
	at := t.shown + len(t.held)
	t.tokens = append(t.tokens, span{c, at, at})
	if len(t.controls) > 0 && t.tokenizer.Piece(c.Token) == nil && !slices.Contains(t.controls, c.Token) {
		return Delta{} // a control token that isn't shown
	}
	return t.add(t.decoder.Push(c.Token), search)
}

// end returns everything that is still held back.
func (t *text) end(search bool) Delta {
	d := t.add(t.decoder.Flush(), search)
	if d.Finish != scheduler.Running {
		return d
	}
	rest := t.show(len(t.held))
	d.Text += rest.Text
	d.Tokens = append(d.Tokens, rest.Tokens...)
	return d
}

// add takes decoded text. Where a character is made of several tokens, the whole
// of it belongs to each of them.
func (t *text) add(s string, search bool) Delta {
	if s == "" {
		return Delta{}
	}
	from := len(t.held)
	t.held += s
	for i := len(t.tokens) - 1; i >= 0 && t.tokens[i].end == t.tokens[i].start; i-- {
		t.tokens[i].end = t.shown + len(t.held)
	}
	keep := 0
	if search {
		for i := range len(s) {
			if found := t.search(s[i]); found != "" {
				return t.stop(found, from+i+1)
			}
		}
		for i := range t.stops {
			keep = max(keep, t.stops[i].matched)
		}
	}
	return t.show(len(t.held) - keep)
}

// search takes the next byte and returns the longest stop string that it
// completes.
func (t *text) search(c byte) (found string) {
	for i := range t.stops {
		if s := &t.stops[i]; s.next(c) && len(s.text) > len(found) {
			found = s.text
		}
	}
	return found
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
	t.tokens = slices.Delete(t.tokens, 0, i)
	return d
}

// stop ends the answer with a stop string that ends at a byte of what is held.
// The tokens that began before the cut belong to the answer.
func (t *text) stop(found string, end int) Delta {
	cut := end - len(found)
	if t.includeStop {
		cut = end
	}
	d := Delta{Text: t.held[:cut], Finish: scheduler.FinishStop, StopString: found}
	for _, s := range t.tokens {
		if s.start < t.shown+cut {
			d.Tokens = append(d.Tokens, Token{s.choice})
		}
	}
	t.held, t.tokens = "", nil
	return d
}
