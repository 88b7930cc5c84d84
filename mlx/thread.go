package mlx

import "runtime"

// job is a function for the owning thread. done gets what became of it.
type job struct {
	f    func()
	done chan outcome
}

type outcome struct {
	panicked bool
	value    any
	exited   bool // f called runtime.Goexit
}

// Do runs f on the library's thread and waits for it. A panic of f comes out of
// Do. Do inside Do runs f directly. Calls from several goroutines run one after
// another, in no particular order; an f that waits for another goroutine's Do
// waits forever.
func (l *Library) Do(f func()) {
	if l.onThread() {
		f()
		return
	}
	done := make(chan outcome, 1)
	l.jobs <- job{f, done}
	switch o := <-done; {
	case o.panicked:
		panic(o.value)
	case o.exited:
		runtime.Goexit()
	}
}

// onThread says whether the caller is on the library's thread. Its goroutine is
// locked to the thread, so no other goroutine ever runs there.
func (l *Library) onThread() bool { return callC(l.pthreadSelf) == l.self }

// own is the goroutine that owns the thread, for as long as the process lives.
func (l *Library) own(start func() error, started chan<- error) {
	runtime.LockOSThread()
	l.self = callC(l.pthreadSelf)
	err := start()
	started <- err
	if err != nil {
		return
	}
	l.serve()
}

func (l *Library) serve() {
	for j := range l.jobs {
		l.run(j)
	}
}

// run runs one job and reports what became of it.
func (l *Library) run(j job) {
	o := outcome{exited: true}
	defer func() {
		if v := recover(); v != nil {
			o = outcome{panicked: true, value: v}
		}
		j.done <- o
		if o.exited {
			// runtime.Goexit ends this goroutine as soon as its deferred calls
			// return, and the thread with it. So this one goes on serving.
			l.serve()
		}
	}()
	j.f()
	o.exited = false
}
