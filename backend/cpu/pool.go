package cpu

import (
	"runtime"
	"sync/atomic"
)

// job is work in phases: all threads work on one phase, meet, and go on to the
// next.
type job interface {
	// advance is called by one thread while all others wait: at the start, and
	// after every phase. It returns the next phase, or finished.
	advance() int
	// work does a share of a phase. Neither it nor advance may panic.
	work(thread, phase int)
}

const (
	finished = -1 // of job.advance: the job is done
	quit     = -2 // the pool is closed
)

// pool is a fixed set of threads: goroutines that stay on their work from the
// first phase of a job to its last. The goroutine that calls do is thread 0.
//
// The threads meet at a barrier between phases. It is the same barrier at which
// they wait for a job: whoever arrives last (the caller of do, as a rule, when
// they were idle) calls advance and lets the others go. A thread that waits
// spins for a moment, for the phases of a small model take microseconds, then
// yields, then parks.
type pool struct {
	threads  int
	patience patience
	job      job  // set by do before thread 0 arrives
	closing  bool // likewise
	next     int  // the phase everybody works on, set by the last to arrive

	arrived atomic.Int32
	_       [60]byte
	round   atomic.Uint32 // incremented when all have arrived
	_       [60]byte
	seats   []seat
}

// seat is where one thread parks.
type seat struct {
	parked atomic.Bool
	wake   chan struct{}
	_      [48]byte
}

func newPool(threads int, w patience) *pool {
	p := &pool{threads: threads, patience: w, seats: make([]seat, threads)}
	for i := range p.seats {
		p.seats[i].wake = make(chan struct{}, 1)
	}
	for i := 1; i < threads; i++ {
		go func() {
			for {
				switch phase := p.meet(i); phase {
				case quit:
					return
				case finished:
				default:
					p.job.work(i, phase)
				}
			}
		}()
	}
	return p
}

// do runs a job to its end. Calls must not overlap.
func (p *pool) do(j job) {
	p.job = j
	for {
		phase := p.meet(0)
		if phase < 0 {
			return
		}
		j.work(0, phase)
	}
}

// close ends the threads.
func (p *pool) close() {
	p.closing = true
	p.meet(0)
}

// meet waits until all threads are here and returns the next phase.
func (p *pool) meet(thread int) int {
	round := p.round.Load()
	if int(p.arrived.Add(1)) < p.threads {
		p.wait(thread, round)
		return p.next
	}
	p.arrived.Store(0)
	if p.closing {
		p.next = quit
	} else {
		p.next = p.job.advance()
	}
	next := p.next // another meeting may begin as soon as the others are let go
	p.round.Add(1)
	for i := range p.seats {
		if s := &p.seats[i]; i != thread && s.parked.Load() && s.parked.CompareAndSwap(true, false) {
			s.wake <- struct{}{}
		}
	}
	return next
}

// patience is how long a thread waits before it parks.
type patience struct {
	spins  int // looks at the barrier
	yields int // then times that it offers its core to other goroutines
}

// patient waits for some tens of microseconds, longer than most phases take.
var patient = patience{spins: 4000, yields: 300}

// wait returns when the round is over.
func (p *pool) wait(thread int, round uint32) {
	for range p.patience.spins {
		if p.round.Load() != round {
			return
		}
	}
	for range p.patience.yields {
		runtime.Gosched()
		for range 64 {
			if p.round.Load() != round {
				return
			}
		}
	}
	// Whoever ended the round before may still be going through the seats and
	// wake us for it, so a wake-up alone means nothing.
	s := &p.seats[thread]
	for p.round.Load() == round {
		s.parked.Store(true)
		if p.round.Load() != round && s.parked.CompareAndSwap(true, false) {
			return
		}
		<-s.wake
	}
}

// each is a job of a single phase: f(i) for each i below n, in parallel. A panic
// is kept in failed.
type each struct {
	n       int
	f       func(i int)
	started bool
	next    atomic.Int64
	failed  atomic.Pointer[any]
}

func (e *each) advance() int {
	if e.started {
		return finished
	}
	e.started = true
	return 0
}

func (e *each) work(int, int) {
	defer func() {
		if r := recover(); r != nil {
			e.failed.Store(&r)
		}
	}()
	for e.failed.Load() == nil {
		i := int(e.next.Add(1)) - 1
		if i >= e.n {
			return
		}
		e.f(i)
	}
}
