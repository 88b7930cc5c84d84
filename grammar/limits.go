package grammar

import (
	"context"
	"errors"
	"fmt"
)

// ErrLimit is wrapped by the errors of constraints that are too large, or that
// take too much work to compile or to follow.
var ErrLimit = errors.New("too large for a constraint")

const (
	maxSource = 1 << 20   // bytes of a constraint's text
	maxDepth  = 128       // nesting of a schema, a regex or a grammar's parentheses
	maxWork   = 24 << 20  // steps of compilation: about a second and 300 MB at the worst
	maxStates = 200_000   // of a compiled grammar
	maxRepeat = 20_000    // of one repetition's counts
	maxText   = 10_000    // characters of a string that has a maxLength: 140,000 states
	maxShapes = 512       // alternatives that allOf, anyOf and the like multiply to
	maxItems  = 512       // ways in which a text can be read at once
	maxVisits = 4_000_000 // trie nodes that one mask may look at
)

// A budget bounds one compilation. What runs out of it ends in a panic with an
// abort, which Compile recovers.
type budget struct {
	ctx  context.Context
	left int
	poll int
}

// abort carries an error out of a compilation.
type abort struct{ err error }

func newBudget(ctx context.Context) *budget { return &budget{ctx: ctx, left: maxWork} }

func (b *budget) spend(n int) {
	b.left -= n
	b.poll += n
	if b.left < 0 {
		panic(abort{fmt.Errorf("%w: it takes more than %d steps to compile", ErrLimit, maxWork)})
	}
	if b.poll > 1<<14 {
		b.poll = 0
		if err := b.ctx.Err(); err != nil {
			panic(abort{fmt.Errorf("compiling a constraint: %w", err)})
		}
	}
}

// guard runs f and returns the error it was aborted with.
func guard(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			a, ok := r.(abort)
			if !ok {
				panic(r)
			}
			err = a.err
		}
	}()
	f()
	return nil
}
