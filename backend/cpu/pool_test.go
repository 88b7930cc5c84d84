package cpu

import (
	"sync/atomic"
	"testing"
	"time"
)

// phased is a job that checks that no thread enters a phase before all have left
// the one before, and that all see what was written there.
type phased struct {
	t       *testing.T
	phases  int
	current int
	inside  atomic.Int32
	plain   [8]int // written without synchronization, by thread
	sum     int
	slow    int // the thread that dawdles
}

func (p *phased) advance() int {
	if n := p.inside.Load(); n != 0 {
		p.t.Errorf("%d threads are still in phase %d", n, p.current)
	}
	p.sum = 0
	for _, v := range p.plain {
		p.sum += v
	}
	if p.current++; p.current > p.phases {
		return finished
	}
	return p.current
}

func (p *phased) work(thread, phase int) {
	p.inside.Add(1)
	if phase != p.current {
		p.t.Errorf("thread %d works on phase %d in phase %d", thread, phase, p.current)
	}
	if thread == p.slow && phase%50 == 0 {
		time.Sleep(2 * time.Millisecond) // long enough for the others to park
	}
	p.plain[thread]++
	p.inside.Add(-1)
}

func TestPool(t *testing.T) {
	for threads := 1; threads <= 5; threads++ {
		p := newPool(threads)
		for _, phases := range []int{0, 1, 200} {
			j := &phased{t: t, phases: phases, slow: phases % threads}
			p.do(j)
			if j.sum != threads*phases {
				t.Errorf("%d threads did %d shares of %d phases", threads, j.sum, phases)
			}
			time.Sleep(time.Millisecond) // the next job finds some parked
		}
		work := each{n: 1000, f: func(i int) {
			if i == 500 {
				panic("half way")
			}
		}}
		p.do(&work)
		if r := work.failed.Load(); r == nil || *r != "half way" {
			t.Errorf("%d threads: the panic was lost", threads)
		}
		p.close()
	}
}
