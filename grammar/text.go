package grammar

import (
	"fmt"
	"slices"
	"strings"
)

// lengths accepts the strings of min to max characters; max < 0 is no bound. It is a copy
// of a character's automaton for each of them: to find the many states of a long one by
// determinize takes a hundred times as long.
func lengths(lim *budget, min, max int) *dfa {
	char := common().char.states // its state 1 is the only one that accepts
	size := int32(len(char)) - 1
	last := max
	if max < 0 {
		last = min
	}
	var out dfa
	for n := range last + 1 {
		lim.spend(textCost)
		base := int32(n) * size
		next := base + size // where the next character starts
		if n == last {
			if max >= 0 {
				out.states = append(out.states, dfaState{accept: true})
				break
			}
			next = base
		}
		for s, t := range char {
			if t.accept {
				continue
			}
			state := dfaState{edges: slices.Clone(t.edges), accept: s == 0 && n >= min}
			for i, e := range t.edges {
				if char[e.to].accept {
					state.edges[i].to = next
				} else {
					state.edges[i].to = base + e.to - 1
				}
			}
			out.states = append(out.states, state)
		}
	}
	return &out
}

// textCost is what a character of lengths costs of the budget.
const textCost = 100

// quoted is a language of JSON's strings with the quotes, of which d has what is between them.
func quoted(lim *budget, d *dfa) *dfa {
	lim.spend(2 * len(d.states))
	n := int32(len(d.states))
	out := dfa{states: make([]dfaState, 0, n+2)}
	out.states = append(out.states, dfaState{edges: []edge{{'"', '"', 1}}})
	for _, s := range d.states {
		edges := make([]edge, 0, len(s.edges)+1)
		close := edge{'"', '"', n + 1}
		for _, e := range s.edges {
			if s.accept && e.lo > '"' && close.to >= 0 {
				edges = append(edges, close)
				close.to = -1
			}
			edges = append(edges, edge{e.lo, e.hi, e.to + 1})
		}
		if s.accept && close.to >= 0 {
			edges = append(edges, close)
		}
		out.states = append(out.states, dfaState{edges: edges})
	}
	out.states = append(out.states, dfaState{accept: true})
	return minimize(lim, &out)
}

// encode turns a language of strings into that of how JSON writes them, without
// the quotes: characters as they are, escapes only of quotes, backslashes, slashes and
// control characters.
func encode(lim *budget, d *dfa) *dfa {
	var out dfa
	n := int32(len(d.states))
	out.states = make([]dfaState, n)
	// A new state for each thing that an escape has begun.
	add := func(s dfaState) int32 {
		lim.spend(1 + len(s.edges))
		out.states = append(out.states, s)
		return int32(len(out.states) - 1)
	}
	for i, s := range d.states {
		lim.spend(len(s.edges))
		var t, escape dfaState
		t.accept = s.accept
		var high [2][]edge // by the third digit of \u00xx: the last digit's edges
		for _, e := range s.edges {
			for lo := int(e.lo); lo <= int(e.hi); lo++ {
				hi := lo
				switch {
				case lo < 0x20:
					high[lo>>4] = append(high[lo>>4], hexDigit(lo&15, e.to)...)
					if short := shortEscape(byte(lo)); short != 0 {
						escape.edges = append(escape.edges, edge{short, short, e.to})
					}
					continue
				case lo == '"' || lo == '\\':
					escape.edges = append(escape.edges, edge{byte(lo), byte(lo), e.to})
					continue
				case lo == '/':
					escape.edges = append(escape.edges, edge{'/', '/', e.to})
				default:
					for hi < int(e.hi) && hi+1 != '"' && hi+1 != '\\' && hi+1 != '/' {
						hi++
					}
				}
				t.edges = append(t.edges, edge{byte(lo), byte(hi), e.to})
				lo = hi
			}
		}
		var third []edge
		for digit, last := range high {
			if len(last) > 0 {
				slices.SortFunc(last, func(a, b edge) int { return int(a.lo) - int(b.lo) })
				third = append(third, edge{byte('0' + digit), byte('0' + digit), add(dfaState{edges: last})})
			}
		}
		if len(third) > 0 {
			second := add(dfaState{edges: []edge{{'0', '0', add(dfaState{edges: third})}}})
			first := add(dfaState{edges: []edge{{'0', '0', second}}})
			escape.edges = append(escape.edges, edge{'u', 'u', first})
		}
		if len(escape.edges) > 0 {
			slices.SortFunc(escape.edges, func(a, b edge) int { return int(a.lo) - int(b.lo) })
			t.edges = append(t.edges, edge{'\\', '\\', add(escape)})
			slices.SortFunc(t.edges, func(a, b edge) int { return int(a.lo) - int(b.lo) })
		}
		out.states[i] = t
	}
	return trim(&out)
}

// hexDigit is the edges of a hexadecimal digit, in either case.
func hexDigit(digit int, to int32) []edge {
	low := fmt.Sprintf("%x", digit)[0]
	if digit < 10 {
		return []edge{{low, low, to}}
	}
	up := strings.ToUpper(string(low))[0]
	return []edge{{up, up, to}, {low, low, to}}
}

const (
	month31  = `(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])`
	month30  = `(0[469]|11)-(0[1-9]|[12][0-9]|30)`
	february = `02-(0[1-9]|1[0-9]|2[0-8])`
	leap     = `([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29`
	fullDate = `([0-9]{4}-(` + month31 + `|` + month30 + `|` + february + `)|` + leap + `)`
	offset   = `([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])`
	// RFC 3339 has leap seconds only where it is 23:59 in UTC; they are left out.
	fullTime = `([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?` + offset
	octet    = `(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])`
	ipv4     = octet + `(\.` + octet + `){3}`
	atom     = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
	userinfo = `([A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*`
	host     = `([A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*`
	pchar    = `([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})`
)

// labels is the pattern of host names of up to n labels of up to most characters: together
// they stay below the 253 characters that are allowed.
func labels(n, most int) string {
	label := fmt.Sprintf(`[A-Za-z0-9]([A-Za-z0-9-]{0,%d}[A-Za-z0-9])?`, most-2)
	return fmt.Sprintf(`%s(\.%s){0,%d}`, label, label, n-1)
}

// formats are the patterns of the formats supported, each narrower than or the same as what
// its RFC allows.
var formats = map[string]string{
	"date":         fullDate,
	"time":         fullTime,
	"date-time":    fullDate + `[Tt]` + fullTime,
	"duration":     `P([0-9]+W|([0-9]+Y([0-9]+M([0-9]+D)?)?|[0-9]+M([0-9]+D)?|[0-9]+D)(T([0-9]+H([0-9]+M([0-9]+S)?)?|[0-9]+M([0-9]+S)?|[0-9]+S))?|T([0-9]+H([0-9]+M([0-9]+S)?)?|[0-9]+M([0-9]+S)?|[0-9]+S))`,
	"ipv4":         ipv4,
	"ipv6":         ipv6(),
	"uuid":         `[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}`,
	"email":        atom + `(\.` + atom + `)*@` + labels(3, 63),
	"hostname":     `(?!(.*\.)?..--)(` + labels(3, 63) + `|` + labels(8, 30) + `)`,
	"uri":          `[A-Za-z][A-Za-z0-9+.-]*:(//(` + userinfo + `@)?(` + host + `|\[(` + ipv6() + `)\])(:[0-9]*)?(/` + pchar + `*)*|/?(` + pchar + `+(/` + pchar + `*)*)?)(\?(` + pchar + `|[/?])*)?(#(` + pchar + `|[/?])*)?`,
	"json-pointer": `(/([^~/]|~[01])*)*`,
}

// ipv6 is the pattern of RFC 4291, section 2.2: eight groups, of which one run may
// be left out, and the last two of which may be an IPv4 address.
func ipv6() string {
	const group = `[0-9A-Fa-f]{1,4}`
	last := `(` + group + `:` + group + `|` + ipv4 + `)`
	p := []string{fmt.Sprintf(`(%s:){6}%s`, group, last)}
	for before := range 8 {
		head := "::"
		if before > 0 {
			head = fmt.Sprintf(`%s(:%s){%d}::`, group, group, before-1)
		}
		// At least one group is left out.
		if after := 7 - before; after >= 2 {
			p = append(p, fmt.Sprintf(`%s(%s:){0,%d}%s`, head, group, after-2, last))
		}
		if before < 7 {
			p = append(p, fmt.Sprintf(`%s(%s)?`, head, group))
		} else {
			p = append(p, head)
		}
	}
	return strings.Join(p, "|")
}
