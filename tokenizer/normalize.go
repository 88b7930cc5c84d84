package tokenizer

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// A normalizer rewrites text before it is split.
type normalizer func(text string) string

func nfc(text string) string  { return norm.NFC.String(text) }
func nfd(text string) string  { return norm.NFD.String(text) }
func nfkc(text string) string { return norm.NFKC.String(text) }
func nfkd(text string) string { return norm.NFKD.String(text) }

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
