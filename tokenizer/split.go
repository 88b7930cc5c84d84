package tokenizer

import "strings"

// A splitter is one stage of a pre-tokenizer: it returns the length of the
// first piece of s, which isn't empty. Stages refine each other: every piece of
// one is cut by the next as if it were a text of its own, so "end of text" in a
// pattern means the end of the piece.
//
// The splitters below are regular expressions written out by hand, greedy
// matching and backtracking included; each has its pattern above it.
type splitter func(s string) int

// run is the end of the longest run from i of characters in mask.
func run(s string, i int, mask class) int {
	for i < len(s) {
		c, n := classAt(s, i)
		if c&mask == 0 {
			break
		}
		i += n
	}
	return i
}

// runOutside is the end of the longest run from i of characters not in mask.
func runOutside(s string, i int, mask class) int {
	for i < len(s) {
		c, n := classAt(s, i)
		if c&mask != 0 {
			break
		}
		i += n
	}
	return i
}

// atMost is the end of the run from i of characters in mask, limit of them or
// fewer.
func atMost(s string, i int, mask class, limit int) int {
	for range limit {
		if i == len(s) {
			break
		}
		c, n := classAt(s, i)
		if c&mask == 0 {
			break
		}
		i += n
	}
	return i
}

// spaces matches \s+(?!\S)|\s+ : white space, without its last character when
// something follows that can take it along.
func spaces(s string) int {
	end, last := 0, 0
	for end < len(s) {
		c, n := classAt(s, end)
		if c&space == 0 {
			if last > 0 {
				return last
			}
			break
		}
		last = end
		end += n
	}
	return end
}

// spacesOrLines matches \s*[\r\n]+|\s+(?!\S)|\s+ : white space up to its last
// line break if it has one.
func spacesOrLines(s string) int {
	lines := 0
	for i := 0; i < len(s); {
		c, n := classAt(s, i)
		if c&space == 0 {
			break
		}
		i += n
		if c&newline != 0 {
			lines = i
		}
	}
	if lines > 0 {
		return lines
	}
	return spaces(s)
}

// contraction is the length of 's|'t|'re|'ve|'m|'ll|'d at the start of s, or 0.
func contraction(s string, anyCase bool) int {
	if len(s) < 2 || s[0] != '\'' {
		return 0
	}
	fold := byte(0)
	if anyCase {
		fold = 0x20
		// The long s is a case variant of s.
		if strings.HasPrefix(s[1:], "ſ") {
			return 1 + len("ſ")
		}
	}
	switch a := s[1] | fold; a {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v', 'l':
		if len(s) < 3 {
			return 0
		}
		if b := s[2] | fold; b == 'e' && a != 'l' || b == 'l' && a == 'l' {
			return 3
		}
	}
	return 0
}

// splitGPT2 is GPT-2's pattern, which is also that of ByteLevel with use_regex:
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func splitGPT2(s string) int {
	if n := contraction(s, false); n > 0 {
		return n
	}
	i := 0
	if s[0] == ' ' && len(s) > 1 {
		i = 1
	}
	c, n := classAt(s, i)
	switch {
	case c&letter != 0:
		return run(s, i+n, letter)
	case c&number != 0:
		return run(s, i+n, number)
	case c&space == 0:
		return runOutside(s, i+n, space|letter|number)
	}
	return spaces(s)
}

// splitLlama3 makes the pattern of Llama 3 (three digits at a time) and Qwen 2
// (one):
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}
//	| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//
// With marks, that of Qwen 3.5, where [\p{L}\p{M}] stands for a word's \p{L}
// and \p{M} isn't punctuation.
func splitLlama3(digits int, marks bool) splitter {
	word := letter
	if marks {
		word = wordOrMark
	}
	return func(s string) int {
		if n := contraction(s, true); n > 0 {
			return n
		}
		c, n := classAt(s, 0)
		if isWordChar(c, marks) {
			return run(s, n, word)
		}
		if c&number != 0 {
			return atMost(s, n, number, digits-1)
		}
		if c&newline == 0 && n < len(s) {
			if c, k := classAt(s, n); isWordChar(c, marks) {
				return run(s, n+k, word)
			}
		}
		return punctOrSpaces(s, marks, false)
	}
}

// isWordChar reports \p{L}, or with marks [\p{L}\p{M}].
func isWordChar(c class, marks bool) bool {
	return c&letter != 0 || marks && c.isMark()
}

// punctOrSpaces matches  ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ at
// the start of s, which has no letter or number there. With marks, \p{M} isn't
// punctuation either; with slash, [\r\n/]* follows the punctuation.
func punctOrSpaces(s string, marks, slash bool) int {
	not := space | letter | number
	if marks {
		not |= markBits
	}
	c, n := classAt(s, 0)
	if s[0] == ' ' && n < len(s) {
		var k int
		c, k = classAt(s, n)
		n += k
	}
	if c&not != 0 {
		return spacesOrLines(s)
	}
	end := runOutside(s, n, not)
	for end < len(s) && (s[end] == '\r' || s[end] == '\n' || slash && s[end] == '/') {
		end++
	}
	return end
}

// splitO200k makes the pattern of o200k (GPT-4o, gpt-oss, Llama 4):
//
//	[^\r\n\p{L}\p{N}]?U*L+(?i:'s|'t|'re|'ve|'m|'ll|'d)?
//	|[^\r\n\p{L}\p{N}]?U+L*(?i:'s|'t|'re|'ve|'m|'ll|'d)?
//	|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
//
// with U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], L = [\p{Ll}\p{Lm}\p{Lo}\p{M}]. Without
// contractions and one digit at a time it is Tekken's.
func splitO200k(digits int, contractions bool) splitter {
	return func(s string) int {
		c, n := classAt(s, 0)
		if c&number != 0 {
			return atMost(s, n, number, digits-1)
		}
		end := 0
		prefix := c&(letter|newline) == 0 // and no number
		if prefix {
			end = casedWord(s, n)
		}
		if end == 0 {
			end = casedWord(s, 0)
		}
		if end == 0 && prefix && n < len(s) {
			if end = run(s, n, upper); end == n {
				end = 0
			}
		}
		if end == 0 {
			end = run(s, 0, upper)
		}
		if end == 0 {
			return punctOrSpaces(s, false, true)
		}
		if contractions {
			end += contraction(s[end:], true)
		}
		return end
	}
}

// casedWord is the end of U*L+ at s[i:], or 0 when it doesn't match there.
func casedWord(s string, i int) int {
	both := 0 // end of the last character that is U and L
	for i < len(s) {
		c, n := classAt(s, i)
		if c&upper == 0 {
			if c&lower != 0 {
				return run(s, i+n, lower)
			}
			break
		}
		i += n
		if c&lower != 0 {
			both = i
		}
	}
	// No L follows the U run, so the run gives back characters until one is
	// both; those after it are U alone.
	return both
}

// splitBeforeSpaces cuts before each space: Metaspace with split.
func splitBeforeSpaces(s string) int {
	if i := strings.IndexByte(s[1:], ' '); i >= 0 {
		return i + 1
	}
	return len(s)
}
