package grammar

import "fmt"

// A state of a program is a dfaState whose numbers are the whole program's.
type state struct {
	edges  []edge
	calls  []call // rule is the start state of the rule called
	table  *[256]int32
	accept bool
	called bool // its rule is called by another, or by itself
	// branches is set if something can be done without a byte: to end or to call.
	branches bool
	last     bool // accepts and goes nowhere: a call that returns here needs no frame
}

func (s *state) next(b byte) int32 {
	if s.table != nil {
		return s.table[b]
	}
	for _, e := range s.edges {
		if b <= e.hi {
			if b >= e.lo {
				return e.to
			}
			return -1
		}
	}
	return -1
}

// A program is a grammar ready to be walked: all rules' automata in one table.
type program struct {
	states []state
	start  int32
	rules  []placed
	chars  []charset // by state: what can be read within its rule
}

// placed says where a rule's states are.
type placed struct {
	rule *dfa
	base int32
}

// tableEdges is the number of edges above which a state gets a table.
const tableEdges = 4

// link makes a program of rules, of which root is the first to run. name names a
// rule in errors.
func link(lim *budget, rules []*dfa, root int, name func(rule int) string) *program {
	rules = productive(lim, rules)
	if rules[root].empty() {
		panic(abort{ErrEmpty})
	}
	checkRecursion(lim, rules, name)
	// Only rules that can be reached are kept.
	base := make([]int32, len(rules))
	seen := make([]bool, len(rules))
	order := []int{root}
	seen[root] = true
	total := 0
	for i := 0; i < len(order); i++ {
		base[order[i]] = int32(total)
		total += len(rules[order[i]].states)
		for _, s := range rules[order[i]].states {
			for _, c := range s.calls {
				if !seen[c.rule] {
					seen[c.rule] = true
					order = append(order, int(c.rule))
				}
			}
		}
	}
	if total > maxStates {
		panic(abort{fmt.Errorf("%w: %d states, at most %d are allowed", ErrLimit, total, maxStates)})
	}
	called := make([]bool, len(rules))
	for _, r := range order {
		for _, s := range rules[r].states {
			for _, c := range s.calls {
				called[c.rule] = true
			}
		}
	}
	p := &program{states: make([]state, 0, total), start: base[root]}
	for _, r := range order {
		lim.spend(len(rules[r].states))
		p.rules = append(p.rules, placed{rules[r], base[r]})
		for _, s := range rules[r].states {
			t := state{accept: s.accept, called: called[r], branches: s.accept || len(s.calls) > 0, last: s.accept && len(s.edges)+len(s.calls) == 0}
			for _, e := range s.edges {
				t.edges = append(t.edges, edge{e.lo, e.hi, base[r] + e.to})
			}
			for _, c := range s.calls {
				t.calls = append(t.calls, call{base[c.rule], base[r] + c.to})
			}
			if len(t.edges) > tableEdges {
				t.table = new([256]int32)
				for b := range t.table {
					t.table[b] = -1
				}
				for _, e := range t.edges {
					for b := int(e.lo); b <= int(e.hi); b++ {
						t.table[b] = e.to
					}
				}
			}
			p.states = append(p.states, t)
		}
	}
	return p
}

// productive drops the calls of rules that never end, and what only they lead to.
func productive(lim *budget, rules []*dfa) []*dfa {
	good := make([]bool, len(rules))
	// filter keeps the calls of good rules.
	filter := func(d *dfa) *dfa {
		if leaf(d) {
			return d
		}
		var out dfa
		for _, s := range d.states {
			t := dfaState{edges: s.edges, accept: s.accept}
			for _, c := range s.calls {
				if good[c.rule] {
					t.calls = append(t.calls, c)
				}
			}
			out.states = append(out.states, t)
		}
		lim.spend(len(d.states))
		return trim(&out)
	}
	out := make([]*dfa, len(rules))
	for changed := true; changed; {
		changed = false
		for i, d := range rules {
			if !good[i] && !filter(d).empty() {
				good[i], changed = true, true
			}
		}
	}
	for i, d := range rules {
		out[i] = filter(d)
	}
	return out
}

// checkRecursion refuses left recursion: a rule that can run itself again before
// a byte is read.
func checkRecursion(lim *budget, rules []*dfa, name func(int) string) {
	nullable := make([]bool, len(rules))
	// first walks what can be reached from the start of rule i without a byte.
	first := func(i int, visit func(rule int32)) (ends bool) {
		d := rules[i]
		seen := make(map[int32]bool)
		todo := []int32{0}
		for len(todo) > 0 {
			s := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if seen[s] {
				continue
			}
			seen[s] = true
			lim.spend(1)
			ends = ends || d.states[s].accept
			for _, c := range d.states[s].calls {
				visit(c.rule)
				if nullable[c.rule] {
					todo = append(todo, c.to)
				}
			}
		}
		return ends
	}
	for changed := true; changed; {
		changed = false
		for i := range rules {
			if !nullable[i] && first(i, func(int32) {}) {
				nullable[i], changed = true, true
			}
		}
	}
	// Depth first, with a stack of our own: grammars are as deep as they like.
	const open, done = 1, 2
	mark := make([]byte, len(rules))
	for root := range rules {
		if mark[root] != 0 {
			continue
		}
		stack := []int{root}
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			if mark[i] != 0 {
				mark[i] = done
				stack = stack[:len(stack)-1]
				continue
			}
			mark[i] = open
			first(i, func(r int32) {
				switch mark[r] {
				case 0:
					stack = append(stack, int(r))
				case open:
					panic(abort{&SyntaxError{Reason: fmt.Sprintf("rule %q is left-recursive: it can run itself before anything is read; write it with a repetition", name(int(r)))}})
				}
			})
		}
	}
}
