//go:build !unix

package kvstore

import "os"

// lock does nothing: this system's locks aren't supported, and two processes must
// not be given one folder.
func lock(*os.File) error { return nil }
