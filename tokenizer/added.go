package tokenizer

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is a token that is matched whole in text, before the rest is
// merged.
type addedToken struct {
	text       string
	id         int32
	control    bool
	normalized bool // matched in the normalized text, not in the text as given
	lstrip     bool // takes the white space before it along
	rstrip     bool // takes the white space after it along
	singleWord bool // only matches when no word character is next to it
}

// matcher finds added tokens, the leftmost first and of those the longest. The
// tokens are kept sorted; the ones that agree with the text so far are a range
// that narrows byte by byte.
type matcher struct {
	tokens []addedToken
	first  [256]bool // bytes that a token begins with
}

func newMatcher(tokens []addedToken) *matcher {
	m := new(matcher)
	for _, t := range tokens {
		if t.text != "" {
			m.tokens = append(m.tokens, t)
			m.first[t.text[0]] = true
		}
	}
	if len(m.tokens) == 0 {
		return nil
	}
	slices.SortStableFunc(m.tokens, func(a, b addedToken) int { return strings.Compare(a.text, b.text) })
	m.tokens = slices.CompactFunc(m.tokens, func(a, b addedToken) bool { return a.text == b.text })
	return m
}

// longest is the longest token that text[i:] begins with, or nil.
func (m *matcher) longest(text string, i int) *addedToken {
	lo, hi := 0, len(m.tokens)
	var found *addedToken
	for depth := 0; i+depth < len(text); depth++ {
		b := text[i+depth]
		// Within the range all tokens agree up to depth and none ends before.
		n, _ := slices.BinarySearchFunc(m.tokens[lo:hi], b, func(t addedToken, b byte) int {
			return compareAt(t.text, depth, b)
		})
		k, _ := slices.BinarySearchFunc(m.tokens[lo+n:hi], b, func(t addedToken, b byte) int {
			if compareAt(t.text, depth, b) <= 0 {
				return -1
			}
			return 1
		})
		lo, hi = lo+n, lo+n+k
		if lo == hi {
			break
		}
		if len(m.tokens[lo].text) == depth+1 { // the shortest sorts first
			found = &m.tokens[lo]
			if lo++; lo == hi {
				break
			}
		}
	}
	return found
}

func compareAt(text string, i int, b byte) int {
	if i >= len(text) {
		return -1
	}
	return int(text[i]) - int(b)
}

// next finds the first token in text[from:] whose text counts as a match under
// the options, and the span it takes, white space that it strips included.
// Nothing before from is taken. ok is false when there is none.
func (m *matcher) next(text string, from int, special bool) (tok *addedToken, start, end int, ok bool) {
	if m == nil {
		return nil, 0, 0, false
	}
	for i := from; i < len(text); {
		if !m.first[text[i]] {
			i++
			continue
		}
		tok := m.longest(text, i)
		if tok == nil {
			i++
			continue
		}
		start, end = i, i+len(tok.text)
		i = end
		if tok.control && !special || tok.singleWord && besideWord(text, start, end) {
			continue
		}
		if tok.lstrip {
			start = from + len(strings.TrimRightFunc(text[from:start], unicode.IsSpace))
		}
		if tok.rstrip {
			end = len(text) - len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))
		}
		return tok, start, end, true
	}
	return nil, 0, 0, false
}

// besideWord reports whether a word character touches text[start:end].
func besideWord(text string, start, end int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:start])
	after, _ := utf8.DecodeRuneInString(text[end:])
	return start > 0 && isWord(before) || end < len(text) && isWord(after)
}

// isWord reports \w: letters, marks, decimal digits, connector punctuation.
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}
