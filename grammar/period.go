package grammar

// A run is a part of an automaton where it repeats itself, as a counted repetition makes
// it: state i+period is state i with its edges moved by period, but for those that leave the
// run for a state that they share.
type run struct {
	first, end int // of the states that are like those a period further on
	period     int

	// By state of a period: how far the states that texts lead to lie, behind and ahead.
	behind, ahead []int
}

const (
	minRun    = 500 // states from which a run is looked for
	maxPeriod = 200
)

// findRun looks for a run about the middle of d, to follow texts of up to n bytes in it.
func findRun(d *dfa, n int) (run, bool) {
	if len(d.states) < minRun {
		return run{}, false
	}
	middle := len(d.states) / 2
	tried := make(map[int]bool)
	for k := range maxPeriod {
		i := middle + k%(len(d.states)-middle)
		for _, e := range d.states[i].edges {
			r := run{first: i, end: i, period: int(e.to) - i}
			if r.period <= 0 || r.period > maxPeriod || tried[r.period] {
				continue
			}
			if tried[r.period] = true; r.extend(d) {
				r.measure(d, n)
				return r, true
			}
		}
	}
	return run{}, false
}

// extend widens a run as far as it goes, and says whether it is long enough to be of use.
func (r *run) extend(d *dfa) bool {
	for r.repeats(d, r.end) {
		r.end++
	}
	for r.first > 0 && r.repeats(d, r.first-1) {
		r.first--
	}
	return r.end-r.first >= minRun/2
}

// repeats says whether state i is like the one a period further on.
func (r *run) repeats(d *dfa, i int) bool {
	if i+r.period >= len(d.states) {
		return false
	}
	a, b := &d.states[i], &d.states[i+r.period]
	if a.accept != b.accept || len(a.edges) != len(b.edges) || len(a.calls)+len(b.calls) > 0 {
		return false
	}
	for k, e := range a.edges {
		if f := b.edges[k]; e.lo != f.lo || e.hi != f.hi || f.to != e.to && int(f.to-e.to) != r.period {
			return false
		}
	}
	return true
}

func (r *run) measure(d *dfa, n int) {
	r.behind, r.ahead = make([]int, r.period), make([]int, r.period)
	behind, ahead := make([]int, r.period), make([]int, r.period)
	for range n {
		for phase := range r.period {
			i := r.first + phase
			least, most := 0, 0
			for k, e := range d.states[i].edges {
				if d.states[i+r.period].edges[k].to == e.to {
					continue
				}
				to := ((int(e.to)-r.first)%r.period + r.period) % r.period
				least = min(least, int(e.to)-i+r.behind[to])
				most = max(most, int(e.to)-i+r.ahead[to])
			}
			behind[phase], ahead[phase] = least, most
		}
		r.behind, behind = behind, r.behind
		r.ahead, ahead = ahead, r.ahead
	}
}

// like returns the first state from which the texts measured lead on as they do from
// state i.
func (r *run) like(i int) int {
	if i < r.first || i >= r.end {
		return i
	}
	phase := (i - r.first) % r.period
	if i+r.ahead[phase] >= r.end {
		return i
	}
	for j := r.first + phase; j < i; j += r.period {
		if j+r.behind[phase] >= r.first {
			return j
		}
	}
	return i
}
