package mlx

import (
	"fmt"
	"unsafe"
)

// version is MLX's version; number orders versions, text is what MLX says.
type version struct {
	text   string
	number int
}

// number is comparable: 0.32.4 is 32004.
func versionNumber(major, minor, patch int) int { return (major*1000+minor)*1000 + patch }

// parseVersion reads "0.32.4" and "0.32.4.dev20261101+abc".
func parseVersion(text string) (version, error) {
	var major, minor, patch int
	if _, err := fmt.Sscanf(text, "%d.%d.%d", &major, &minor, &patch); err != nil {
		return version{}, fmt.Errorf("version %q is not of the form 0.32.4", text)
	}
	return version{text: text, number: versionNumber(major, minor, patch)}, nil
}

// atLeast says whether the library is of the version or a later one.
func (v version) atLeast(major, minor, patch int) bool {
	return v.number >= versionNumber(major, minor, patch)
}

// VersionError says why a version of MLX is not used.
type VersionError struct {
	Path    string
	Version string
	Reason  string
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s is MLX %s, which %s; install MLX 0.32.4 (inferctl backends install mlx, or brew upgrade mlx mlx-c)", e.Path, e.Version, e.Reason)
}

// readVersion asks the library for its version and refuses those that are wrong.
func (l *Library) readVersion(missing []string) error {
	for _, f := range []fn{fnSetErrorHandler, fnVersion, fnStringNew, fnStringData, fnStringFree} {
		if l.fns[f] == 0 {
			return &MissingSymbolsError{Path: l.location.Path, Symbols: missing}
		}
	}
	text := new(uintptr)
	*text = callC(l.fns[fnStringNew])
	if rc := callC(l.fns[fnVersion], uintptr(unsafe.Pointer(text))); int32(rc) != 0 {
		return fmt.Errorf("load %s: ask its version: %s", l.location.Path, takeMessage("version"))
	}
	said := goString(callC(l.fns[fnStringData], *text))
	callC(l.fns[fnStringFree], *text)
	v, err := parseVersion(said)
	if err != nil {
		return fmt.Errorf("load %s: %w", l.location.Path, err)
	}
	l.version = v
	switch {
	case !v.atLeast(0, 31, 0):
		return &VersionError{Path: l.location.Path, Version: said, Reason: "is too old (0.31.0 is the oldest that works)"}
	case v.number == versionNumber(0, 31, 2):
		return &VersionError{Path: l.location.Path, Version: said, Reason: "computes rotary position embeddings wrongly"}
	}
	return nil
}
