package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// origin is where a setting came from: a place in the file, or the name of an
// environment variable or flag.
type origin struct {
	file         string
	line, column int
	from         string
}

func (o origin) String() string {
	if o.from != "" {
		return o.from
	}
	if o.line > 0 {
		return fmt.Sprintf("%s:%d:%d", cmp.Or(o.file, "configuration"), o.line, o.column)
	}
	return cmp.Or(o.file, "configuration")
}

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Where   string // "server.yaml:12:3", "INFERFLUX_SERVER_LISTEN", "--listen"
	Key     string // "server.listen"; "" if it isn't about a key
	Message string

	line, column int
}

// Problems is everything that is wrong with a configuration, file first and
// from top to bottom. Load and Parse return it as their error.
type Problems []Problem

// maxProblems bounds what is printed of a file that isn't a configuration at all.
const maxProblems = 50

// Error implements error: one problem a line.
func (p Problems) Error() string {
	var b strings.Builder
	for i, q := range p {
		if i == maxProblems {
			fmt.Fprintf(&b, "\nand %d more problems", len(p)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(q.Where + ": ")
		if q.Key != "" {
			b.WriteString(q.Key + ": ")
		}
		b.WriteString(q.Message)
	}
	return b.String()
}

func (p Problems) sorted() error {
	if len(p) == 0 {
		return nil
	}
	last := 1 << 30 // what has no line comes after the file
	line := func(q Problem) int {
		if q.line == 0 {
			return last
		}
		return q.line
	}
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(line(a)-line(b), a.column-b.column)
	})
	return p
}

func (p *Problems) add(o origin, key, format string, args ...any) {
	*p = append(*p, Problem{Where: o.String(), Key: key, Message: fmt.Sprintf(format, args...), line: o.line, column: o.column})
}

// andUnrelated adds the problems of others that don't follow from one that is
// known: an entry whose source couldn't be read isn't also said to lack one.
func (p Problems) andUnrelated(others Problems) Problems {
	known := p
	for _, o := range others {
		follows := slices.ContainsFunc(known, func(k Problem) bool {
			return k.Key != "" && (within(k.Key, o.Key) || within(o.Key, k.Key))
		})
		if !follows {
			p = append(p, o)
		}
	}
	return p
}

// within says whether key is section or lies in it.
func within(key, section string) bool {
	rest, ok := strings.CutPrefix(key, section)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// nearest is the candidate that a mistyped word most likely meant, or "".
func nearest(word string, candidates []string) string {
	best, bestDistance := "", max(1, min(3, len(word)/3))+1
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(word), strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// editDistance is the optimal string alignment distance: insertions, deletions,
// substitutions and swaps of neighbours. Long words count as far away.
func editDistance(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return longest
	}
	var before, previous, row [longest + 1]int
	for j := range len(b) + 1 {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(previous[j]+1, row[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, previous = previous, row
	}
	return previous[len(b)]
}
