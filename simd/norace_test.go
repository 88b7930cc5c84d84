//go:build !race

package simd_test

const poolForgets = false
