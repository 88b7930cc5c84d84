package cpu

import (
	"runtime"
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
	slow    int // the thread that dawdles now and then
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
	if thread == p.slow && phase%100 == 0 {
		time.Sleep(2 * time.Millisecond) // long enough for the others to park
	}
	p.plain[thread]++
	p.inside.Add(-1)
}

func TestPool(t *testing.T) {
	// More threads than cores, so that the system stops them at any point, such as
	// between letting the others go and waking those that parked.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	for _, w := range []patience{patient, {spins: 20}, {}} {
		for _, threads := range []int{1, 2, 3, 8} {
			p := newPool(threads, w)
			for _, phases := range []int{0, 1, 200, 1000} {
				j := &phased{t: t, phases: phases, slow: phases % threads}
				p.do(j)
				if j.sum != threads*phases {
					t.Errorf("%d threads did %d shares of %d phases", threads, j.sum, phases)
				}
				time.Sleep(time.Millisecond) // the next job finds them parked
			}
			p.close()
		}
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
