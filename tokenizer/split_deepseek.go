package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// A match returns the length of a pattern's match at the start of a text that
// isn't empty, or 0.
type match func(s string) int

// isolated cuts a text into the matches of a pattern and what lies between.
func isolated(m match) splitter {
	return func(s string) int {
		if n := m(s); n > 0 {
			return n
		}
		i := charLen(s, 0)
		for i < len(s) && m(s[i:]) == 0 {
			i += charLen(s, i)
		}
		return i
	}
}

func charLen(s string, i int) int {
	if s[i] < utf8.RuneSelf {
		return 1
	}
	_, n := utf8.DecodeRuneInString(s[i:])
	return n
}

// splitDigits isolates \p{N}{1,limit}.
func splitDigits(limit int) splitter {
	return func(s string) int {
		if n := atMost(s, 0, number, limit); n > 0 {
			return n
		}
		return runOutside(s, 0, number)
	}
}

// splitLines isolates [\r\n].
func splitLines(s string) int {
	switch i := strings.IndexAny(s, "\r\n"); i {
	case -1:
		return len(s)
	case 0:
		return 1
	default:
		return i
	}
}

// splitTrailingSpace isolates \s+$.
func splitTrailingSpace(s string) int {
	if n := len(strings.TrimRightFunc(s, unicode.IsSpace)); n > 0 {
		return n
	}
	return len(s)
}

// splitRanges isolates runs of characters in a table that has none below 0x80.
func splitRanges(table *unicode.RangeTable) splitter {
	return func(s string) int {
		in := false
		for i, r := range s {
			wide := r >= utf8.RuneSelf && unicode.Is(table, r)
			if i == 0 {
				in = wide
			} else if wide != in {
				return i
			}
		}
		return len(s)
	}
}

// spaceThen isolates \s?X+ for a set X of characters that holds no white space.
func spaceThen(in func(r rune) bool) splitter {
	return isolated(func(s string) int {
		i := 0
		r, n := utf8.DecodeRuneInString(s)
		if unicode.IsSpace(r) {
			if i = n; i == len(s) {
				return 0
			}
			r, n = utf8.DecodeRuneInString(s[i:])
		}
		start := i
		for i < len(s) && in(r) {
			i += n
			r, n = utf8.DecodeRuneInString(s[i:])
		}
		if i == start {
			return 0
		}
		return i
	})
}

// splitDeepSeekV3 is the last of DeepSeek V3's three patterns:
//
//	[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+
//	| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
var splitDeepSeekV3 = isolated(func(s string) int {
	c, n := classAt(s, 0)
	if c&wordOrMark != 0 && !c.isMark() {
		return run(s, n, wordOrMark)
	}
	if c&(punct|symbol) != 0 {
		if s[0] < utf8.RuneSelf {
			if end := asciiLetters(s, 1); end > 1 {
				return end
			}
		}
		return run(s, run(s, n, punct|symbol), newline)
	}
	if c&newline == 0 && n < len(s) {
		next, k := classAt(s, n)
		if next&wordOrMark != 0 {
			return run(s, n+k, wordOrMark)
		}
		if s[0] == ' ' && next&(punct|symbol) != 0 {
			return run(s, run(s, n+k, punct|symbol), newline)
		}
	}
	if c.isMark() {
		return n
	}
	return spacesOrLines(s)
})

func asciiLetters(s string, i int) int {
	for i < len(s) && ('a' <= s[i]|0x20 && s[i]|0x20 <= 'z') {
		i++
	}
	return i
}

// The character ranges of the DeepSeek patterns.
var (
	// [一-龥぀-ゟ゠-ヿ]
	hanKana = ranges16(0x3040, 0x30ff, 0x4e00, 0x9fa5)
	// [一-龥ࠀ-一가-퟿]
	hanHangul = ranges16(0x0800, 0x9fa5, 0xac00, 0xd7ff)
	// The punctuation of DeepSeek LLM: [!-/:-~！-／：-～‘-‟　-。]
	deepSeekPunct = ranges16('!', '/', ':', '~', 0x2018, 0x201f, 0x3000, 0x3002, 0xff01, 0xff0f, 0xff1a, 0xff5e)
	// Its letters, written as in its pattern.
	deepSeekLetters = parseRanges(deepSeekLetterRanges)
)

// deepSeekLetterRanges is the character class of DeepSeek LLM's pattern for words.
const deepSeekLetterRanges = "A-Za-z\u00b5À-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅ" +
	"ὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄ" +
	"Ⰰ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ\U00010400-\U0001044f\U000104b0-\U000104d3" +
	"\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df" +
	"\U0001e900-\U0001e943"

func isLetter(r rune) bool { return classOf(r)&letter != 0 }

func isPunct(r rune) bool { return classOf(r)&punct != 0 }

func isDeepSeekLetter(r rune) bool { return unicode.Is(deepSeekLetters, r) }

func isDeepSeekPunct(r rune) bool { return unicode.Is(deepSeekPunct, r) }

func ranges16(bounds ...uint16) *unicode.RangeTable {
	t := new(unicode.RangeTable)
	for i := 0; i < len(bounds); i += 2 {
		t.R16 = append(t.R16, unicode.Range16{Lo: bounds[i], Hi: bounds[i+1], Stride: 1})
	}
	return t
}

// parseRanges reads the inside of a character class that is sorted.
func parseRanges(set string) *unicode.RangeTable {
	t := new(unicode.RangeTable)
	runes := []rune(set)
	for i := 0; i < len(runes); i++ {
		lo, hi := runes[i], runes[i]
		if i+2 < len(runes) && runes[i+1] == '-' {
			hi = runes[i+2]
			i += 2
		}
		if hi <= 0xffff {
			t.R16 = append(t.R16, unicode.Range16{Lo: uint16(lo), Hi: uint16(hi), Stride: 1})
		} else {
			t.R32 = append(t.R32, unicode.Range32{Lo: uint32(lo), Hi: uint32(hi), Stride: 1})
		}
	}
	return t
}
