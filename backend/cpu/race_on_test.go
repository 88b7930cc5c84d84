//go:build race

package cpu_test

// raceDetector makes sync.Pool drop things at random, so that allocations can't
// be counted.
const raceDetector = true
