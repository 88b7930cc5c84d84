//go:build !unix

package install

// lock does nothing: MLX can't be installed on this system.
func lock(string) (unlock func(), err error) { return func() {}, nil }
