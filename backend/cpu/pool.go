package cpu

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
)

// job is work in phases, one after the other. Within a phase the threads share the
// work among them.
type job interface {
	// advance is called while no thread is in a phase: at the start, and after every
	// phase. It returns the next phase, or finished.
	advance() int
	// work takes shares of a phase until none is left, and does them. Neither it nor
	// advance may panic.
	work(thread, phase int)
}

const finished = -1 // of job.advance: the job is done

// pool is a fixed set of threads: goroutines that stay on their work from the first
// phase of a job to its last. The goroutine that calls do is thread 0.
//
// A phase is open until a thread finds no work left in it, and over when the last
// thread that entered it has left. That thread begins the next one. So nobody waits
// for a thread that hasn't come, because it is just waking up or because the system
// has given its core to another process: the others do its share. Short phases are
// often over before a second thread is there.
//
// A thread that waits spins for a moment, for the phases of a small model take
// microseconds, then offers its core to other goroutines, then parks.
type pool struct {
	patience patience
	threads  int
	job      job // set by do before the first phase opens
	phase    int // that is open, set before it opens

	_     [64]byte
	state atomic.Uint32 // threads in the phase, and flags
	_     [60]byte
	seats []seat
}

// Flags of a pool's state.
const (
	phaseOpen = 1 << 16 << iota // threads may enter
	jobDone                     // there is no job
	poolShut                    // there will be none

	phaseThreads = 1<<16 - 1 // the mask of the number
)

// seat is where one thread parks.
type seat struct {
	parked atomic.Bool
	wake   chan struct{}
	_      [48]byte
}

func newPool(threads int, w patience) *pool {
	p := &pool{threads: threads, patience: w, seats: make([]seat, threads)}
	p.state.Store(jobDone)
	for i := range p.seats {
		p.seats[i].wake = make(chan struct{}, 1)
	}
	for i := 1; i < threads; i++ {
		go func() {
			debug.SetPanicOnFault(true) // a job's fault is a panic, for it to catch
			p.take(i, false)
		}()
	}
	return p
}

// do runs a job to its end. Calls must not overlap.
func (p *pool) do(j job) {
	p.job = j
	p.take(0, p.next(0))
}

// close ends the threads.
func (p *pool) close() {
	p.state.Store(jobDone | poolShut)
	p.wake(0)
}

// take is a thread's part in phase after phase: for thread 0 until the job is done,
// for the others until the pool is closed. inside says that it is in a phase already.
func (p *pool) take(thread int, inside bool) {
	for inside || p.enter(thread) {
		p.job.work(thread, p.phase)
		inside = p.leave(thread)
	}
}

// enter waits for an open phase and enters it. It reports false when there is nothing
// to wait for.
func (p *pool) enter(thread int) bool {
	end := uint32(poolShut)
	if thread == 0 {
		end = jobDone
	}
	for {
		switch s := p.state.Load(); {
		case s&end != 0:
			return false
		case s&phaseOpen == 0:
			p.wait(thread, phaseOpen|end)
		case p.state.CompareAndSwap(s, s+1):
			return true
		}
	}
}

// leave closes the phase, as there is no work left in it, and leaves. The last thread
// goes on to the next phase; leave reports whether there is one and the thread in it.
func (p *pool) leave(thread int) bool {
	for {
		s := p.state.Load()
		left := s&^phaseOpen - 1
		if !p.state.CompareAndSwap(s, left) {
			continue
		}
		return left&phaseThreads == 0 && p.next(thread)
	}
}

// next begins the job's next phase, with the thread in it, or ends the job and reports
// false. No other thread is in a phase.
func (p *pool) next(thread int) bool {
	phase := p.job.advance()
	if phase == finished {
		p.state.Store(jobDone)
		p.rouse(&p.seats[0])
		return false
	}
	p.phase = phase
	p.state.Store(phaseOpen | 1)
	p.wake(thread)
	return true
}

// wake lets all other threads know that the state has changed.
func (p *pool) wake(thread int) {
	for i := range p.seats {
		if i != thread {
			p.rouse(&p.seats[i])
		}
	}
}

func (p *pool) rouse(s *seat) {
	if s.parked.Load() && s.parked.CompareAndSwap(true, false) {
		s.wake <- struct{}{}
	}
}

// patience is how long a thread waits before it parks.
type patience struct {
	spins  int // looks at the state
	yields int // then times that it offers its core to other goroutines
}

// patient waits for some tens of microseconds, longer than most phases take.
var patient = patience{spins: 16000, yields: 50}

// wait returns when the state has one of the flags, or may have.
func (p *pool) wait(thread int, flags uint32) {
	for range p.patience.spins {
		if p.state.Load()&flags != 0 {
			return
		}
	}
	for range p.patience.yields {
		runtime.Gosched()
		for range 64 {
			if p.state.Load()&flags != 0 {
				return
			}
		}
	}
	// A wake-up that was meant for an earlier wait does no harm: the caller looks
	// again.
	s := &p.seats[thread]
	s.parked.Store(true)
	if p.state.Load()&flags != 0 && s.parked.CompareAndSwap(true, false) {
		return
	}
	<-s.wake
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
