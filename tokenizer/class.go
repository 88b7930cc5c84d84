package tokenizer

import (
	"sync"
	"unicode"
	"unicode/utf8"
)

// class holds the Unicode properties that pre-tokenizer patterns ask for, as
// bits. \p{M} has no bit of its own: it is upper and lower without letter.
type class uint8

const (
	letter  class = 1 << iota // \p{L}
	number                    // \p{N}
	space                     // \s, the property White_Space
	punct                     // \p{P}
	symbol                    // \p{S}
	upper                     // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
	lower                     // [\p{Ll}\p{Lm}\p{Lo}\p{M}]
	newline                   // [\r\n]
)

// Unions that the patterns use.
const (
	markBits   = upper | lower
	wordOrMark = letter | markBits // [\p{L}\p{M}]
)

// isMark reports \p{M}.
func (c class) isMark() bool { return c&wordOrMark == markBits }

// asciiClass is the classes of the bytes below 0x80. Bytes from 0x80 on have
// none: they are only met alone when the text isn't valid UTF-8.
var asciiClass = func() (t [256]class) {
	for b := range utf8.RuneSelf {
		t[b] = runeClass(rune(b))
	}
	return t
}()

// classPages are the classes of all code points in pages of 256, equal pages
// stored once.
type classPages struct {
	index [(unicode.MaxRune + 1) / 256]uint16
	pages [][256]class
}

// pages is built on first use: a process that only reads ASCII never needs it.
var pages = sync.OnceValue(func() *classPages {
	flat := make([]class, unicode.MaxRune+1)
	for bits, tables := range map[class][]*unicode.RangeTable{
		letter:        {unicode.L},
		number:        {unicode.N},
		space:         {unicode.White_Space},
		punct:         {unicode.P},
		symbol:        {unicode.S},
		upper:         {unicode.Lu, unicode.Lt},
		lower:         {unicode.Ll},
		upper | lower: {unicode.Lm, unicode.Lo, unicode.M},
	} {
		for _, table := range tables {
			for _, r := range table.R16 {
				fill(flat, rune(r.Lo), rune(r.Hi), rune(r.Stride), bits)
			}
			for _, r := range table.R32 {
				fill(flat, rune(r.Lo), rune(r.Hi), rune(r.Stride), bits)
			}
		}
	}
	for bits, ranges := range unicode16 {
		for _, r := range ranges {
			fill(flat, r[0], r[1], 1, bits)
		}
	}
	p := new(classPages)
	seen := make(map[[256]class]uint16)
	for i := range p.index {
		page := [256]class(flat[i*256:])
		n, ok := seen[page]
		if !ok {
			n = uint16(len(p.pages))
			seen[page] = n
			p.pages = append(p.pages, page)
		}
		p.index[i] = n
	}
	return p
})

func fill(flat []class, lo, hi, stride rune, bits class) {
	for r := lo; r <= hi; r += stride {
		flat[r] |= bits
	}
}

// runeClass computes the class of one ASCII code point.
func runeClass(r rune) (c class) {
	switch {
	case 'a' <= r && r <= 'z':
		return letter | lower
	case 'A' <= r && r <= 'Z':
		return letter | upper
	case '0' <= r && r <= '9':
		return number
	case r == '\r' || r == '\n':
		return space | newline
	case unicode.IsSpace(r):
		return space
	case unicode.IsPunct(r):
		return punct
	case unicode.IsSymbol(r):
		return symbol
	}
	return 0
}

// classAt is the class and length in bytes of the character at s[i:]. A byte
// that isn't part of valid UTF-8 is a character of no class.
func classAt(s string, i int) (class, int) {
	if b := s[i]; b < utf8.RuneSelf {
		return asciiClass[b], 1
	}
	return wideClass(s[i:])
}

func wideClass(s string) (class, int) {
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		return 0, 1
	}
	return classOf(r), n
}

// classOf is the class of a code point.
func classOf(r rune) class {
	p := pages()
	return p.pages[p.index[r>>8]][r&0xff]
}
