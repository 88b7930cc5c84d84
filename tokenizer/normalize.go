package tokenizer

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// A normalizer rewrites text before it is split.
type normalizer func(text string) string

func nfc(text string) string  { return normalForm(text, norm.NFC, norm.NFD, true) }
func nfd(text string) string  { return normalForm(text, norm.NFD, norm.NFD, false) }
func nfkc(text string) string { return normalForm(text, norm.NFKC, norm.NFKD, true) }
func nfkd(text string) string { return normalForm(text, norm.NFKD, norm.NFKD, false) }

// normalForm brings text into a normalization form. Package norm puts U+034F
// into every run of more than 30 combining characters (Unicode's stream-safe
// format); no tokenizer does, so text with such runs goes the plain way.
func normalForm(text string, form, decomposed norm.Form, compose bool) string {
	out := form.String(text)
	const joiner = "\u034f"
	if !strings.Contains(out, joiner) || strings.Count(out, joiner) == strings.Count(text, joiner) {
		return out
	}
	chars := decompose(text, decomposed)
	if compose {
		chars = recompose(chars)
	}
	var b strings.Builder
	for _, c := range chars {
		b.WriteString(c.text)
	}
	return b.String()
}

// combining is a character with its canonical combining class, 0 for those that
// begin a sequence. A byte that isn't valid UTF-8 is a character.
type combining struct {
	text  string
	class uint8
}

// decompose splits text into fully decomposed characters in canonical order.
func decompose(text string, form norm.Form) []combining {
	var chars []combining
	for i := 0; i < len(text); {
		n := charLen(text, i)
		parts := form.String(text[i : i+n])
		i += n
		for j := 0; j < len(parts); {
			k := charLen(parts, j)
			c := parts[j : j+k]
			chars = append(chars, combining{c, form.PropertiesString(c).CCC()})
			j += k
		}
	}
	for i := 0; i < len(chars); i++ {
		start := i
		for i < len(chars) && chars[i].class != 0 {
			i++
		}
		slices.SortStableFunc(chars[start:i], func(a, b combining) int { return int(a.class) - int(b.class) })
	}
	return chars
}

// recompose joins each starter with the characters after it that it composes
// with, unless one between blocks it: the canonical composition algorithm of
// The Unicode Standard, section 3.11.
func recompose(chars []combining) []combining {
	out := chars[:0]
	starter := -1
	for _, c := range chars {
		adjacent := starter == len(out)-1
		if starter >= 0 && (adjacent || out[len(out)-1].class < c.class && out[len(out)-1].class != 0) {
			if joined := norm.NFC.String(out[starter].text + c.text); charLen(joined, 0) == len(joined) {
				out[starter].text = joined
				continue
			}
		}
		if c.class == 0 {
			starter = len(out)
		}
		out = append(out, c)
	}
	return out
}

// lowercase maps each character by itself, with the one special mapping that
// isn't to a single character.
func lowercase(text string) string {
	return strings.ToLower(strings.ReplaceAll(text, "İ", "i̇"))
}

// prepend puts text before any that isn't empty.
func prepend(prefix string) normalizer {
	return func(text string) string {
		if text == "" {
			return text
		}
		return prefix + text
	}
}

func replace(old, new string) normalizer {
	return func(text string) string { return strings.ReplaceAll(text, old, new) }
}

func strip(left, right bool) normalizer {
	return func(text string) string {
		if left {
			text = strings.TrimLeftFunc(text, unicode.IsSpace)
		}
		if right {
			text = strings.TrimRightFunc(text, unicode.IsSpace)
		}
		return text
	}
}
