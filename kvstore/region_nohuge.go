//go:build unix && !linux

package kvstore

func adviseHuge([]byte) {}
