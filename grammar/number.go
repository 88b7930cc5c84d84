package grammar

import (
	"context"
	"fmt"
	"math/big"
	"strings"
	"sync"
)

// What a schema says of numbers is a language of decimals in their shortest form: no
// exponent, no zeros at the fraction's end, no "-0". There each number has one text, so
// that equality, complements and ranges are exact. spellings then allows for
// the zeros that a writer may add.

// constants are the languages that every schema needs, made once.
type constants struct {
	decimal *dfa // all numbers, in their shortest form
	integer *dfa
	text    *dfa // all strings: valid UTF-8
	char    *dfa // one character of them; what accepts is one state, the last
	// As JSON writes them:
	jsonNumber, jsonString, space *dfa
}

var common = sync.OnceValue(func() *constants {
	lim := newBudget(context.Background())
	return &constants{
		decimal:    subtract(lim, parseRegex(lim, `-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?`), literals(lim, []string{"-0"})),
		integer:    parseRegex(lim, `0|-?[1-9][0-9]*`),
		text:       compileExpr(lim, star(anyRune())),
		char:       compileExpr(lim, anyRune()),
		jsonNumber: parseRegex(lim, `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`),
		jsonString: compileExpr(lim, seq{literal(`"`), star(alt{
			parseExpr(lim, `[^"\\\x00-\x1f]`),
			parseExpr(lim, `\\["\\/bfnrt]`),
			// A surrogate is written with its other half or not at all.
			parseExpr(lim, `\\u([0-9abcefABCEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}|[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})`),
		}), literal(`"`)}),
		space: parseRegex(lim, ` ?|\n[ \t]{0,40}`),
	}
})

func parseExpr(lim *budget, pattern string) expr { return regexExpr(lim, pattern) }

// decimalText writes x in its shortest form, or "" if it has no finite one or
// too long a one.
func decimalText(x *big.Rat) string {
	digits, exact := x.FloatPrec()
	if !exact || digits > maxDigits {
		return ""
	}
	s := x.FloatString(digits)
	if len(s) > 4*maxDigits {
		return ""
	}
	return s
}

// atLeast accepts the decimals that are greater than x, or equal to it if equal.
func atLeast(lim *budget, x *big.Rat, equal bool) *dfa {
	text := decimalText(x)
	if text == "" {
		return nil
	}
	var pattern string
	if x.Sign() < 0 {
		// All that is not negative, and what is nearer to zero.
		pattern = `[0-9].*|-(` + below(text[1:], equal) + `)`
	} else {
		pattern = above(text, equal)
	}
	return intersect(lim, parseRegex(lim, pattern), common().decimal)
}

// atMost is atLeast's mirror.
func atMost(lim *budget, x *big.Rat, equal bool) *dfa {
	text := decimalText(x)
	if text == "" {
		return nil
	}
	var pattern string
	if x.Sign() < 0 {
		pattern = `-(` + above(text[1:], equal) + `)`
	} else {
		pattern = `-.*|` + below(text, equal)
	}
	return intersect(lim, parseRegex(lim, pattern), common().decimal)
}

// above is the pattern of decimals above text, which isn't negative, by their
// first digit that differs.
func above(text string, equal bool) string {
	whole, fraction, _ := strings.Cut(text, ".")
	var p []string
	if equal {
		p = append(p, exactly(text))
	}
	p = append(p, fmt.Sprintf(`[1-9][0-9]{%d}[0-9]*(\..*)?`, len(whole)))
	for i, d := range whole {
		if d < '9' {
			p = append(p, fmt.Sprintf(`%s[%c-9][0-9]{%d}(\..*)?`, whole[:i], d+1, len(whole)-i-1))
		}
	}
	for i, d := range fraction {
		if d < '9' {
			p = append(p, fmt.Sprintf(`%s\.%s[%c-9].*`, whole, fraction[:i], d+1))
		}
	}
	if fraction == "" {
		p = append(p, whole+`\..+`)
	} else {
		p = append(p, fmt.Sprintf(`%s\.%s.+`, whole, fraction))
	}
	return strings.Join(p, "|")
}

// below is the pattern of decimals that aren't negative and are below text.
func below(text string, equal bool) string {
	whole, fraction, _ := strings.Cut(text, ".")
	p := []string{`[^\x00-\x{10ffff}]`}
	if equal {
		p = append(p, exactly(text))
	}
	if n := len(whole); n > 1 {
		p = append(p, fmt.Sprintf(`(0|[1-9][0-9]{0,%d})(\..*)?`, n-2))
	}
	for i, d := range whole {
		if d > '0' {
			p = append(p, fmt.Sprintf(`%s[0-%c][0-9]{%d}(\..*)?`, whole[:i], d-1, len(whole)-i-1))
		}
	}
	if fraction != "" {
		p = append(p, whole)
	}
	for i, d := range fraction {
		if i > 0 {
			p = append(p, fmt.Sprintf(`%s\.%s`, whole, fraction[:i]))
		}
		if d > '0' {
			p = append(p, fmt.Sprintf(`%s\.%s[0-%c].*`, whole, fraction[:i], d-1))
		}
	}
	return strings.Join(p, "|")
}

func exactly(text string) string { return strings.ReplaceAll(text, ".", `\.`) }

// maxDivisor bounds multipleOf, in units of its last decimal place.
const maxDivisor = 5000

// multiples accepts the decimals that are multiples of x, which is positive, by
// long division. It returns nil if x is too large or too fine.
func multiples(lim *budget, x *big.Rat) *dfa {
	places, exact := x.FloatPrec()
	if !exact || places > 6 {
		return nil
	}
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)
	units := new(big.Int).Div(new(big.Int).Mul(x.Num(), scale), x.Denom())
	if !units.IsInt64() || units.Int64() > maxDivisor {
		return nil
	}
	m := int(units.Int64())
	// State 0 is the start, then a state for each remainder: of the whole part, and
	// after each decimal place.
	at := func(place, rest int) int32 { return int32(1 + place*m + rest%m) }
	d := dfa{states: make([]dfaState, 1+(places+1)*m)}
	lim.spend(len(d.states) * 10)
	d.states[0].edges = []edge{{'-', '-', 0}}
	for digit := range 10 {
		c := byte('0' + digit)
		d.states[0].edges = append(d.states[0].edges, edge{c, c, at(0, digit)})
	}
	for place := range places + 1 {
		left := 1
		for range places - place {
			left *= 10
		}
		for rest := range m {
			s := &d.states[at(place, rest)]
			s.accept = rest*left%m == 0
			if place == 0 && places > 0 {
				// The point reads nothing: the places that follow it count.
				s.edges = append(s.edges, edge{'.', '.', -1})
			}
			for digit := range 10 {
				c := byte('0' + digit)
				if place == 0 {
					s.edges = append(s.edges, edge{c, c, at(0, rest*10+digit)})
				} else if place < places {
					s.edges = append(s.edges, edge{c, c, at(place+1, rest*10+digit)})
				}
			}
		}
	}
	// After the point comes the first place.
	point := func(rest int) int32 {
		s := dfaState{}
		for digit := range 10 {
			c := byte('0' + digit)
			s.edges = append(s.edges, edge{c, c, at(1, rest*10+digit)})
		}
		d.states = append(d.states, s)
		return int32(len(d.states) - 1)
	}
	for rest := range m {
		s := &d.states[at(0, rest)]
		if len(s.edges) > 0 && s.edges[0].lo == '.' {
			to := point(rest)
			d.states[at(0, rest)].edges[0].to = to
		}
	}
	return intersect(lim, trim(&d), common().decimal)
}

// spellings accepts the ways in which JSON may write the decimals of d: with zeros
// at the fraction's end. Integers are written without a fraction.
func spellings(lim *budget, d *dfa) *dfa {
	if subtract(lim, d, common().integer).empty() {
		return d
	}
	// A state of d is doubled: in the whole part, and in the fraction.
	b := builder{lim: lim}
	n := int32(len(d.states))
	for range 2 * n {
		b.node()
	}
	end, zeros, point := b.node(), b.node(), b.node()
	zero := edge{'0', '0', zeros}
	b.states[zeros].edges = []edge{zero}
	b.states[point].edges = []edge{zero}
	b.eps(zeros, end)
	for i, s := range d.states {
		whole, fraction := int32(i), n+int32(i)
		for _, e := range s.edges {
			if e.lo == '.' {
				b.states[whole].edges = append(b.states[whole].edges, edge{'.', '.', n + e.to})
				continue
			}
			b.states[whole].edges = append(b.states[whole].edges, e)
			b.states[fraction].edges = append(b.states[fraction].edges, edge{e.lo, e.hi, n + e.to})
		}
		if s.accept {
			b.eps(whole, end)
			b.eps(fraction, end)
			b.states[whole].edges = append(b.states[whole].edges, edge{'.', '.', point})
			b.states[fraction].edges = append(b.states[fraction].edges, zero)
		}
	}
	return b.determinize(0, end)
}
