package tokenizer

import "unicode/utf8"

// Decode is the text of an answer: control tokens are skipped, bytes that
// aren't valid UTF-8 become U+FFFD, and the space that SentencePiece
// vocabularies put before the first word is taken off again.
func (t *Tokenizer) Decode(ids []int32) string {
	d := t.NewDecoder(true)
	var out []byte
	for _, id := range ids {
		out = d.push(out, id)
	}
	return string(d.flush(out))
}

// Decoder decodes an answer token by token. What it returned, put together,
// equals the decoding of all ids at once.
type Decoder struct {
	t           *Tokenizer
	skipControl bool
	started     bool
	pending     [utf8.UTFMax]byte // an unfinished character
	n           int
}

// NewDecoder starts a decoder. With skipControl, control tokens are left out of
// the text; otherwise they appear as they are spelled.
func (t *Tokenizer) NewDecoder(skipControl bool) *Decoder {
	return &Decoder{t: t, skipControl: skipControl}
}

// Push takes the next token and returns the text that is complete now. It never
// returns part of a character: bytes are held back until the character is
// complete, or certainly isn't one and becomes U+FFFD. An id outside the
// vocabulary adds nothing.
func (d *Decoder) Push(id int32) string { return string(d.push(nil, id)) }

// Flush returns what is still held back: U+FFFD for an unfinished character. The
// decoder is then as new.
func (d *Decoder) Flush() string { return string(d.flush(nil)) }

func (d *Decoder) push(out []byte, id int32) []byte {
	v := d.t.merger.vocab
	if !v.has(id) || d.skipControl && v.kinds[id].isControl() {
		return out
	}
	piece := v.piece(id)
	if len(piece) == 0 {
		return out
	}
	if !d.started {
		d.started = true
		if d.t.stripSpace && piece[0] == ' ' {
			piece = piece[1:]
		}
	}
	if d.n == 0 && utf8.Valid(piece) {
		return append(out, piece...)
	}
	return d.bytes(out, piece)
}

// bytes appends the characters that p completes.
func (d *Decoder) bytes(out, p []byte) []byte {
	var joined []byte
	if d.n > 0 {
		joined = append(joined, d.pending[:d.n]...)
		p = append(joined, p...)
		d.n = 0
	}
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r != utf8.RuneError || n > 1 {
			out = append(out, p[:n]...)
			p = p[n:]
			continue
		}
		if !utf8.FullRune(p) {
			d.n = copy(d.pending[:], p)
			return out
		}
		// As Unicode recommends (and Rust and Python do), one U+FFFD stands for
		// the longest stretch that could have begun a character.
		n = 1
		for !utf8.FullRune(p[:n]) && !utf8.FullRune(p[:n+1]) {
			n++
		}
		out = utf8.AppendRune(out, utf8.RuneError)
		p = p[n:]
	}
	return out
}

func (d *Decoder) flush(out []byte) []byte {
	if d.n > 0 {
		out = utf8.AppendRune(out, utf8.RuneError)
	}
	*d = Decoder{t: d.t, skipControl: d.skipControl}
	return out
}
