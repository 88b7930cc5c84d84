//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package mapfile

import (
	"errors"
	"os"
)

func mmap(*os.File, int) ([]byte, error) { return nil, errors.ErrUnsupported }

func munmap([]byte) error { return nil }

func dontNeed([]byte) {}
