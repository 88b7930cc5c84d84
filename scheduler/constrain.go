package scheduler

import (
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
)

// constrain makes the masks of the draws that the next batch may have, on all cores, and
// ends the answers that are complete or can't go on.
func (s *Scheduler) constrain() {
	var due []*Sequence
	for _, q := range s.running {
		if q.req.Constraint != nil && !q.masked && q.drawing == 0 {
			due = append(due, q)
		}
	}
	if len(due) == 0 {
		return
	}
	allowed, errs := make([]int, len(due)), make([]error, len(due))
	if len(due) == 1 {
		allowed[0], errs[0] = due[0].makeMask()
	} else {
		var wait sync.WaitGroup
		for i, q := range due {
			wait.Go(func() { allowed[i], errs[i] = q.makeMask() })
		}
		wait.Wait()
	}
	for i, q := range due {
		switch {
		case errs[i] != nil:
			s.end(q, Event{Err: errs[i]})
		case allowed[i] == 0:
			s.end(q, Event{Finish: FinishStop})
		default:
			q.masked = true
		}
	}
}

func (q *Sequence) makeMask() (allowed int, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{r, debug.Stack()}
		}
	}()
	if allowed, err = q.req.Constraint.Mask(q.mask); err != nil {
		err = fmt.Errorf("find what may come after token %d of the answer: %w", q.generated, err)
	}
	return allowed, err
}

// accept takes note of a token that was drawn, and tells the constraint, unless it ends
// the answer.
func (q *Sequence) accept(token int32) (err error) {
	q.sampler.Accept(token)
	if q.req.Constraint == nil || slices.Contains(q.req.StopTokens, token) {
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{r, debug.Stack()}
		}
	}()
	if err = q.req.Constraint.Accept(token); err != nil {
		err = fmt.Errorf("token %d of the answer: %w", q.generated+1, err)
	}
	return err
}
