package generate

import (
	"fmt"
	"unicode/utf8"

	"github.com/inferflux/inferflux/scheduler"
)

// stop recognises one stop string in a text that comes byte by byte, in constant
// time per byte on average (Knuth, Morris, Pratt 1977).
type stop struct {
	text string
	// borders[i] is the length of the longest proper prefix of text that is also
	// a suffix of text[:i+1].
	borders []int32
	matched int // length of the longest prefix of text that the input ends with
}

// newStops prepares the stop strings of a request. One that isn't UTF-8 could
// only match in the middle of a character.
func newStops(texts []string) ([]stop, error) {
	stops := make([]stop, len(texts))
	for i, t := range texts {
		switch {
		case t == "":
			return nil, fmt.Errorf("%w: stop string %d is empty", scheduler.ErrInvalidRequest, i)
		case !utf8.ValidString(t):
			return nil, fmt.Errorf("%w: stop string %d (%q) is not valid UTF-8", scheduler.ErrInvalidRequest, i, t)
		}
		stops[i] = stop{text: t, borders: make([]int32, len(t))}
		// A string's borders are what it finds of itself, one byte late.
		s := &stops[i]
		for j := 1; j < len(t); j++ {
			s.next(t[j])
			s.borders[j] = int32(s.matched)
		}
		s.matched = 0
	}
	return stops, nil
}

// next takes a byte and reports whether the input now ends with the stop string;
// then there is no next.
func (s *stop) next(c byte) bool {
	for s.matched > 0 && s.text[s.matched] != c {
		s.matched = int(s.borders[s.matched-1])
	}
	if s.text[s.matched] == c {
		s.matched++
	}
	return s.matched == len(s.text)
}
