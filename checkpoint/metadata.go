package checkpoint

// Metadata is read-only access to a checkpoint's key-value pairs. A getter's
// second result is false when the key is absent or its value can't be
// represented in the wanted type; integers of every width and sign convert when
// the value fits, and integers convert to floats.
type Metadata interface {
	// Keys in file order.
	Keys() []string
	// Value is the stored value: string, bool, int64, uint64, float64, or a
	// slice ([]string, []bool, []int64, []uint64, []float64; an array of arrays
	// is a []any of these).
	Value(key string) (any, bool)
	String(key string) (string, bool)
	Bool(key string) (bool, bool)
	Int(key string) (int, bool)
	Float(key string) (float64, bool)
	Strings(key string) ([]string, bool)
	Ints(key string) ([]int, bool)
	Floats(key string) ([]float64, bool)
}
