package grammar

import (
	"slices"
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

// span returns the fewest characters of d's strings, and the most, or -1 if there is no most.
func span(lim *budget, d *dfa) (least, most int) {
	// Depth first, with a stack of our own; a state on the way to itself is a cycle, in which
	// there are characters.
	const open, done = 1, 2
	mark := make([]byte, len(d.states))
	low, high := make([]int, len(d.states)), make([]int, len(d.states))
	endless := false
	for stack := []int32{0}; len(stack) > 0; {
		i := stack[len(stack)-1]
		s := &d.states[i]
		if mark[i] == 0 {
			lim.spend(1 + len(s.edges))
			mark[i] = open
			for _, e := range s.edges {
				switch mark[e.to] {
				case 0:
					stack = append(stack, e.to)
				case open:
					endless = true
				}
			}
			continue
		}
		stack = stack[:len(stack)-1]
		if mark[i] == done {
			continue
		}
		mark[i] = done
		low[i], high[i] = 1<<30, 0
		if s.accept {
			low[i] = 0
		}
		for _, e := range s.edges {
			n := 1
			if e.lo >= 0x80 && e.lo < 0xc0 {
				n = 0 // the character has been counted
			}
			if mark[e.to] == done {
				low[i] = min(low[i], n+low[e.to])
			} else {
				low[i] = min(low[i], n) // not more, whatever it is
			}
			high[i] = max(high[i], n+high[e.to])
		}
	}
	if endless {
		return low[0], -1
	}
	return low[0], high[0]
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
	if digit < 10 {
		c := byte('0' + digit)
		return []edge{{c, c, to}}
	}
	up, low := byte('A'+digit-10), byte('a'+digit-10)
	return []edge{{up, up, to}, {low, low, to}}
}
