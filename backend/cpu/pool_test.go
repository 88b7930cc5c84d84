package cpu

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// phased is a job that checks that no thread is in a phase when the next begins,
// that every share of a phase is done once, and that all see what was written there.
type phased struct {
	t       *testing.T
	phases  int
	shares  int // of a phase
	current int
	inside  atomic.Int32
	next    atomic.Int32
	done    []int // by share, written without synchronization
	slow    int   // the thread that dawdles now and then
}

func (p *phased) advance() int {
	if n := p.inside.Load(); n != 0 {
		p.t.Errorf("%d threads are still in phase %d", n, p.current)
	}
	for i, n := range p.done {
		if n != p.current {
			p.t.Errorf("after phase %d share %d was done %d times", p.current, i, n)
		}
	}
	p.next.Store(0)
	if p.current == p.phases {
		return finished
	}
	p.current++
	return p.current
}

func (p *phased) work(thread, phase int) {
	p.inside.Add(1)
	if phase != p.current {
		p.t.Errorf("thread %d works on phase %d in phase %d", thread, phase, p.current)
	}
	for {
		i := int(p.next.Add(1)) - 1
		if i >= p.shares {
			break
		}
		if thread == p.slow && phase%100 == 0 {
			time.Sleep(2 * time.Millisecond) // long enough for the others to park
		}
		p.done[i]++
	}
	p.inside.Add(-1)
}

func TestPool(t *testing.T) {
	// More threads than cores, so that the system stops them at any point, such as
	// between opening a phase and waking those that parked.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	for _, w := range []patience{patient, {spins: 20}, {}} {
		for _, threads := range []int{1, 2, 3, 8} {
			p := newPool(threads, w)
			for _, phases := range []int{0, 1, 200, 1000} {
				for _, shares := range []int{0, 1, 3, 20} {
					j := &phased{t: t, phases: phases, shares: shares, done: make([]int, shares), slow: phases % threads}
					if p.do(j); j.current != phases {
						t.Errorf("%d threads: the job ended after %d of %d phases", threads, j.current, phases)
					}
				}
				time.Sleep(time.Millisecond) // the next job finds them parked
			}
			p.close()
		}
	}
}

// TestNobodyWaitsForAbsent: a thread that doesn't come holds up nobody.
func TestNobodyWaitsForAbsent(t *testing.T) {
	p := &pool{threads: 3, seats: make([]seat, 3)} // without threads 1 and 2
	p.state.Store(jobDone)
	j := &phased{t: t, phases: 100, shares: 5, done: make([]int, 5), slow: -1}
	if p.do(j); j.current != 100 {
		t.Errorf("the job ended after %d phases", j.current)
	}
}

func TestEach(t *testing.T) {
	p := newPool(3, patient)
	defer p.close()
	var sum atomic.Int64
	work := each{n: 1000, f: func(i int) { sum.Add(int64(i)) }}
	if p.do(&work); sum.Load() != 999*1000/2 || work.failed.Load() != nil {
		t.Errorf("the sum is %d", sum.Load())
	}
	work = each{n: 1000, f: func(i int) {
		if i == 500 {
			panic("half way")
		}
	}}
	p.do(&work)
	if r := work.failed.Load(); r == nil || *r != "half way" {
		t.Error("the panic was lost")
	}
}
