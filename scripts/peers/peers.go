// Package peers carries programs that run other engines, to measure beside them.
package peers

import _ "embed"

// MLXLM is a Python program; its first lines say what it does.
//
//go:embed mlxlm.py
var MLXLM string
