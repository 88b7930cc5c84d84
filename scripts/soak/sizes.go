package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// gauges reads those of /metrics that are sizes, summed over models; MLX's memory
// is told apart by kind.
func (s *server) gauges() (map[string]float64, error) {
	res, err := s.client.Get(s.url + "/metrics")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	g := map[string]float64{}
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		name, labels, _ := strings.Cut(name, "{")
		if _, kind, ok := strings.Cut(labels, `kind="`); ok && name == "inferflux_device_memory_bytes" {
			kind, _, _ = strings.Cut(kind, `"`)
			name += " " + kind
		}
		switch {
		case slices.Contains([]string{"go_goroutines", "go_memstats_heap_inuse_bytes", "process_open_fds", "inferflux_running_sequences", "inferflux_queue_length"}, name),
			strings.HasPrefix(name, "inferflux_kv_"), strings.HasPrefix(name, "inferflux_device_memory_bytes "):
			if v, err := strconv.ParseFloat(value, 64); err == nil {
				g[name] += v
			}
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return nil, err
	}
	if _, rest, ok := strings.Cut(string(status), "VmRSS:"); ok {
		var kb float64
		if _, err := fmt.Sscan(rest, &kb); err == nil {
			g["resident_bytes"] = 1024 * kb
		}
	}
	if cache, ok := g["inferflux_device_memory_bytes cache"]; ok {
		g["resident_bytes"] -= cache // it has a limit of its own, and is long in reaching it
	}
	return g, nil
}

// sizes are the server's, block by block.
type sizes struct {
	server *server
	done   chan struct{}
	wait   sync.WaitGroup

	mu    sync.Mutex
	block int
	sums  [blocks]map[string]float64
	looks [blocks]float64
	rests [blocks]map[string]float64 // after each block, when nothing ran
}

// watch looks at the sizes again and again.
func watch(s *server, every time.Duration) *sizes {
	z := &sizes{server: s, done: make(chan struct{})}
	z.wait.Go(func() {
		for {
			select {
			case <-z.done:
				return
			case <-time.After(every):
			}
			g, err := s.gauges()
			if err != nil {
				continue // it may be going away, which others notice
			}
			z.mu.Lock()
			if z.sums[z.block] == nil {
				z.sums[z.block] = map[string]float64{}
			}
			for name, v := range g {
				z.sums[z.block][name] += v
			}
			z.looks[z.block]++
			z.mu.Unlock()
		}
	})
	return z
}

func (z *sizes) enter(block int) {
	z.mu.Lock()
	z.block = block
	z.mu.Unlock()
}

func (z *sizes) rest(block int) (err error) {
	z.rests[block], err = z.server.gauges()
	return err
}

func (z *sizes) end() {
	close(z.done)
	z.wait.Wait()
}

// report writes a table and returns what grew.
func (z *sizes) report(w io.Writer, slack float64) (grew []string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "mean of\tfirst block\tsecond\tlast\tat rest after the second\tthe last\t")
	mean := func(block int, name string) float64 { return z.sums[block][name] / max(1, z.looks[block]) }
	for _, name := range slices.Sorted(maps.Keys(z.rests[blocks-1])) {
		second, last := mean(1, name), mean(blocks-1, name)
		rest, end := z.rests[1][name], z.rests[blocks-1][name]
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t\n", name, mean(0, name), second, last, rest, end)
		// What runs while others look differs, so most is compared at rest; but the
		// resident size, which jumps with the collector, by its mean.
		before, after, more := rest, end, 0.0
		switch name {
		case "resident_bytes":
			before, after, more = second, last, 1<<20
		case "go_goroutines", "process_open_fds":
			more = 2 // connections that idle
		case "inferflux_device_memory_bytes active":
		default:
			continue
		}
		if after > before*(1+slack)+more {
			grew = append(grew, fmt.Sprintf("%s from %.0f to %.0f", name, before, after))
		}
	}
	_ = t.Flush()
	return grew
}

func growth(grew []string) error {
	if len(grew) == 0 {
		return nil
	}
	return errors.New("from the second block to the last these grew: " + strings.Join(grew, "; "))
}
