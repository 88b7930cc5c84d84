package tokenizer

import "unicode/utf8"

// Byte-level vocabularies spell every byte as a printable character, so that
// tokens are text: printable Latin-1 bytes stand for themselves, the other 68
// for U+0100 and on, in order (the space is "Ġ", the newline "Ċ").
// The alphabet is that of GPT-2's bytes_to_unicode.

// byteToRune is the alphabet.
var byteToRune = func() (t [256]rune) {
	next := rune(0x100)
	for b := range t {
		switch {
		case b >= '!' && b <= '~', b >= 0xa1 && b <= 0xac, b >= 0xae:
			t[b] = rune(b)
		default:
			t[b] = next
			next++
		}
	}
	return t
}()

// runeToByte is its inverse; -1 where a character isn't in the alphabet.
var runeToByte = func() (t [0x144]int16) {
	for i := range t {
		t[i] = -1
	}
	for b, r := range byteToRune {
		t[r] = int16(b)
	}
	return t
}()

// appendUnspelled appends the bytes that a byte-level spelling stands for. It
// is false, with dst unchanged, when a character isn't in the alphabet.
func appendUnspelled(dst []byte, spelling string) ([]byte, bool) {
	n := len(dst)
	for _, r := range spelling {
		if int(r) >= len(runeToByte) || runeToByte[r] < 0 {
			return dst[:n], false
		}
		dst = append(dst, byte(runeToByte[r]))
	}
	return dst, true
}

// spell is the byte-level spelling of bytes.
func spell(piece []byte) string {
	out := make([]byte, 0, len(piece)+8)
	for _, b := range piece {
		out = utf8.AppendRune(out, byteToRune[b])
	}
	return string(out)
}
