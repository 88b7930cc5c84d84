// Package roofline measures what a machine's memory and arithmetic units can give
// at most, by code that does nothing else: the roofline (Williams, Waterman and
// Patterson, 2009) that the kernels of package simd are held against.
//
// A kernel that does o operations on b bytes takes at least the longer of o/peak and
// b/bandwidth. Virtual machines share both with others, so figures drift: measure
// them beside what they are compared with.
package roofline

import (
	"context"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

// Bandwidth is how fast memory is read.
type Bandwidth struct {
	Threads int     `json:"threads"`
	Bytes   int     `json:"bytes"` // of the buffer, read again and again
	GBps    float64 `json:"gb_per_second"`
}

// Peak is how fast an instruction computes on registers; a multiplication and the
// addition of its product are two operations.
type Peak struct {
	Unit    string  `json:"unit"` // "int8" or "float32"
	Name    string  `json:"instruction"`
	Threads int     `json:"threads"`
	GOPS    float64 `json:"gop_per_second"`
}

// A unit is one kind of arithmetic: loop runs n rounds of ops operations.
type unit struct {
	unit, name string
	ops        float64
	loop       func(n int)
}

// passes is how often something is measured; the best counts, since others on the
// machine can only slow it down.
const passes = 5

// Peaks measures every arithmetic unit of this machine that the kernels use, on
// each number of threads. It stops early if ctx ends.
func Peaks(ctx context.Context, threads ...int) []Peak {
	var all []Peak
	for _, u := range units() {
		for _, n := range threads {
			if ctx.Err() != nil {
				return all
			}
			// As many rounds as take some milliseconds.
			const few = 10_000
			rounds := few * int(max(1, min(1000, 4*time.Millisecond/best(1, func(int) { u.loop(few) }))))
			took := best(n, func(int) { u.loop(rounds) })
			all = append(all, Peak{Unit: u.unit, Name: u.name, Threads: n, GOPS: u.ops * float64(rounds*n) / float64(took.Nanoseconds())})
		}
	}
	return all
}

// A Reader measures the reading of one buffer.
type Reader struct {
	buffer []byte
	free   func()
}

// NewReader makes a buffer of about so many bytes, and touches it all.
func NewReader(bytes int) *Reader {
	r := &Reader{}
	r.buffer, r.free = allocate(max(bytes, 1<<20) &^ (1<<20 - 1))
	for i := 0; i < len(r.buffer); i += 512 {
		r.buffer[i] = 1
	}
	return r
}

// Close frees the buffer.
func (r *Reader) Close() { r.free() }

// Measure reads the buffer with so many threads, each a share of it.
func (r *Reader) Measure(threads int) Bandwidth {
	share := len(r.buffer) / threads &^ (readStep - 1)
	took := best(threads, func(i int) { read(unsafe.Pointer(&r.buffer[i*share]), share) })
	return Bandwidth{Threads: threads, Bytes: len(r.buffer), GBps: float64(share*threads) / float64(took.Nanoseconds())}
}

// best runs f on so many threads at once, several times, and returns the shortest
// time from the common start to the last one's end.
func best(threads int, f func(thread int)) time.Duration {
	var shortest time.Duration
	for range passes {
		var begun, done sync.WaitGroup
		start := make(chan struct{})
		begun.Add(threads)
		for i := range threads {
			done.Go(func() {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				begun.Done()
				<-start
				f(i)
			})
		}
		begun.Wait()
		from := time.Now()
		close(start)
		done.Wait()
		if took := time.Since(from); shortest == 0 || took < shortest {
			shortest = max(took, 1)
		}
	}
	return shortest
}

// readStep is what the number of bytes given to read is a multiple of.
const readStep = 512

// readPortable reads n bytes, a multiple of readStep.
func readPortable(p unsafe.Pointer, n int) uint64 {
	var sums [8]uint64
	for ; n > 0; n -= 64 {
		for i, word := range (*[8]uint64)(p) {
			sums[i] |= word
		}
		p = unsafe.Add(p, 64)
	}
	return sums[0] | sums[1] | sums[2] | sums[3] | sums[4] | sums[5] | sums[6] | sums[7]
}
