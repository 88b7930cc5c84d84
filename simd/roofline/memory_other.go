//go:build !linux

package roofline

func allocate(n int) (b []byte, free func()) { return make([]byte, n), func() {} }
