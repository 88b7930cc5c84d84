package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// countLoops prints, for each loop of the arm64 kernels, how many instructions its
// body has as written and how many of them compute with vectors. An outer loop
// counts an inner one's body once.
func countLoops(w io.Writer) {
	files := map[string]string{}
	generateNEON(files)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		function := ""
		all, vector := 0, 0
		starts := map[string][2]int{}
		for line := range strings.Lines(files[name]) {
			line = strings.TrimSuffix(line, "\n")
			label, isLabel := strings.CutSuffix(line, ":")
			switch {
			case strings.HasPrefix(line, "TEXT ·"):
				function, _, _ = strings.Cut(strings.TrimPrefix(line, "TEXT ·"), "(")
			case isLabel:
				starts[label] = [2]int{all, vector}
			case strings.HasPrefix(line, "\t"):
				all++
				_, text, _ := strings.Cut(line, " // ")
				if text != "" && !strings.HasPrefix(text, "ld") && !strings.HasPrefix(text, "st") {
					vector++
				}
				to, isLoop := strings.CutPrefix(line, "\tBNE ")
				if at, ok := starts[to]; isLoop && ok {
					fmt.Fprintf(w, "%s %s: %d instructions, %d vector\n", function, to, all-at[0], vector-at[1])
				}
			}
		}
	}
}
