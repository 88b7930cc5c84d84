//go:build race

package simd_test

// The race detector makes sync.Pool forget now and then.
const poolForgets = true
