//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package mapfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func mmap(f *os.File, size int) ([]byte, error) {
	data, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if errors.Is(err, unix.ENODEV) { // a file system without it
		err = errors.ErrUnsupported
	}
	return data, err
}

func munmap(data []byte) error { return unix.Munmap(data) }

// dontNeed is only a hint: what fails costs nothing but memory.
func dontNeed(pages []byte) { _ = unix.Madvise(pages, unix.MADV_DONTNEED) }
