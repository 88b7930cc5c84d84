package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/inferflux/inferflux/registry"
)

// progress shows how a pull goes on: a bar that is redrawn on a terminal, a
// line now and then otherwise.
type progress struct {
	w        io.Writer
	terminal bool
	width    int
	phase    string
	started  time.Time // of the phase
	base     int64     // bytes that were there when it began
	next     time.Time // when to draw again
	drawn    bool
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, terminal: isTerminal(w), width: 80}
	if f, ok := w.(*os.File); ok && p.terminal {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			p.width = width
		}
	}
	return p
}

func (p *progress) update(phase string, done, total int64) {
	now := time.Now()
	if phase != p.phase {
		p.phase, p.started, p.base, p.next = phase, now, done, now
	}
	if now.Before(p.next) && (done < total || total == 0) {
		return
	}
	if !p.terminal {
		// At most a line in ten seconds for each phase, and none for those that pass quickly.
		if p.next.Equal(p.started) && phase != "downloading" {
			p.next = now.Add(2 * time.Second)
			return
		}
		if now.Before(p.next) {
			return
		}
		p.next = now.Add(10 * time.Second)
		fmt.Fprintln(p.w, p.line(now, done, total))
		return
	}
	p.next = now.Add(80 * time.Millisecond)
	line := p.line(now, done, total)
	if total > 0 {
		const most = 30
		if room := min(most, p.width-len(line)-4); room >= 8 {
			filled := int(int64(room) * min(done, total) / total)
			line = fmt.Sprintf("[%s%s] %s", strings.Repeat("█", filled), strings.Repeat("░", room-filled), line)
		}
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", line)
	p.drawn = true
}

func (p *progress) line(now time.Time, done, total int64) string {
	if total == 0 && done == 0 {
		return p.phase
	}
	if total == 0 {
		return p.phase + " " + registry.FormatBytes(done)
	}
	if done == 0 {
		return p.phase + " " + registry.FormatBytes(total)
	}
	s := fmt.Sprintf("%s %s of %s", p.phase, registry.FormatBytes(done), registry.FormatBytes(total))
	took := now.Sub(p.started).Seconds()
	if moved := done - p.base; moved > 0 && took > 0.3 {
		rate := float64(moved) / took
		s += fmt.Sprintf(", %s/s", registry.FormatBytes(int64(rate)))
		if left := float64(total-done) / rate; left > 1 {
			s += fmt.Sprintf(", %s left", (time.Duration(left) * time.Second).Round(time.Second))
		}
	}
	return s
}

// done takes the bar away.
func (p *progress) done() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}
