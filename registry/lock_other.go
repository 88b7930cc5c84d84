//go:build !unix

package registry

import "os"

// tryLock only opens the file: this system's locks aren't supported, and two
// processes must not pull the same model at once.
func tryLock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
}
