// Package draft guesses how sequences of tokens go on, cheaply, so that a model can
// check several tokens in one pass instead of making one. A guess can cost time, never
// change an answer: whoever uses it keeps what the model itself would have said.
//
// A [Lookup] guesses from the sequence itself, or from a text that the answer is
// expected to be like: what followed the last tokens when they stood there before. It costs
// next to nothing, and is right where answers repeat their prompts: edits of code,
// summaries, quotations, JSON. The method is prompt lookup
// (github.com/apoorvumang/prompt-lookup-decoding).
//
// A [Model] guesses with a smaller model of the same vocabulary (Leviathan, Kalman,
// Matias: Fast Inference from Transformers via Speculative Decoding, arXiv:2211.17192).
//
// [Choose] says how long the guesses should be, from how often they were right and what
// a step costs.
package draft

// Lookup finds repetitions in a sequence of tokens. It takes about 16 bytes a token. It is
// not safe for concurrent use.
type Lookup struct {
	tokens []int32 // what was expected, then the sequence
	heads  []int32 // by the hash of two tokens: after which place they stood last, plus one
	before []int32 // of each place: the place before it with the same hash, plus one
	cursor int     // the place in tokens that is expected to come next; 0 or less: none
	length int     // how many tokens before cursor agree
}

const (
	// leastMatch is how many tokens must agree for what followed them to be a guess.
	leastMatch = 2
	// mostMatch is beyond what longer agreement says nothing more.
	mostMatch = 16
	// mostTried is how many places are compared.
	mostTried = 32
)

// NewLookup makes a Lookup for a sequence that begins with prompt and may grow to so many
// tokens. The answer may be expected to be like a given text.
func NewLookup(expected, prompt []int32, room int) *Lookup {
	size := 64
	for size < len(expected)+max(room, len(prompt)) && size < 1<<20 {
		size *= 2
	}
	l := &Lookup{heads: make([]int32, size)}
	for _, tokens := range [][]int32{expected, prompt} {
		for _, t := range tokens {
			l.append(t)
		}
	}
	l.find()
	if len(expected) > 0 {
		l.cursor, l.length = 0, mostMatch
	}
	return l
}

// Add takes note of the next token of the sequence.
func (l *Lookup) Add(token int32) {
	follows := l.length > 0 && l.tokens[l.cursor] == token
	l.append(token)
	if follows {
		l.cursor++
		l.length = min(l.length+1, mostMatch)
		return
	}
	l.find()
}

// Propose returns what may come next, n tokens at most, and how many tokens agreed with
// where it was found. The slice is the Lookup's own, valid until the next Add.
func (l *Lookup) Propose(n int) (tokens []int32, match int) {
	if l.length == 0 {
		return nil, 0
	}
	return l.tokens[l.cursor:min(l.cursor+n, len(l.tokens))], l.length
}

func (l *Lookup) append(token int32) {
	l.tokens = append(l.tokens, token)
	l.before = append(l.before, 0)
	if n := len(l.tokens); n >= 2 {
		h := &l.heads[l.hash(n)]
		l.before[n-1], *h = *h, int32(n)
	}
}

// hash is that of the two tokens before a place.
func (l *Lookup) hash(end int) int {
	h := uint64(uint32(l.tokens[end-2]))<<32 | uint64(uint32(l.tokens[end-1]))
	h *= 0x9e3779b97f4a7c15
	return int(h>>32) & (len(l.heads) - 1)
}

// find looks for the place before which most of the last tokens agree, of several the last.
func (l *Lookup) find() {
	l.length = 0
	n := len(l.tokens)
	if n <= leastMatch {
		return
	}
	at := int(l.before[n-1]) // the last place itself is the head
	for tried := 0; at > 0 && tried < mostTried; tried++ {
		match := 0
		for match < mostMatch && match < at && l.tokens[at-1-match] == l.tokens[n-1-match] {
			match++
		}
		if match >= leastMatch && match > l.length {
			l.cursor, l.length = at, match
			if match == mostMatch {
				return
			}
		}
		at = int(l.before[at-1])
	}
}
