package jinja

// The methods of lists, tuples and dictionaries that don't change them. The
// sandbox forbids the others; asking for one gives an undefined value that says so.
var (
	listMethods = map[string]builtin{
		"count": methodListCount,
		"index": methodListIndex,
		"copy":  methodListCopy,
	}
	listMutators = []string{"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"}

	dictMethods = map[string]builtin{
		"get":    methodGet,
		"items":  methodItems,
		"keys":   methodKeys,
		"values": methodValues,
		"copy":   methodDictCopy,
	}
	dictMutators = []string{"clear", "pop", "popitem", "setdefault", "update"}
)

func methodListCount(x *execution, args []any, kwargs *Dict) any {
	a := x.params("count", args[1:], kwargs, 1, "value")
	n := int64(0)
	for _, item := range args[0].(*sequence).items {
		n += toInt(x.equal(item, a[0]))
	}
	return n
}

func methodListIndex(x *execution, args []any, kwargs *Dict) any {
	a := x.params("index", args[1:], kwargs, 1, "value")
	for i, item := range args[0].(*sequence).items {
		if x.equal(item, a[0]) {
			return int64(i)
		}
	}
	x.failf("%s is not in list", x.repr(a[0]))
	return nil
}

// A copy of what can't change is itself.
func methodListCopy(x *execution, args []any, kwargs *Dict) any { return args[0] }
func methodDictCopy(x *execution, args []any, kwargs *Dict) any { return args[0] }

func methodGet(x *execution, args []any, kwargs *Dict) any {
	a := x.params("get", args[1:], kwargs, 1, "key", "default")
	x.checkKey(a[0])
	if _, ok := hashKey(a[0]); !ok {
		x.failf("unhashable type: '%s'", typeName(a[0]))
	}
	if v, ok := args[0].(*Dict).get(a[0]); ok {
		return v
	}
	if a[1] == (absent{}) {
		return nil
	}
	return a[1]
}

func methodItems(x *execution, args []any, kwargs *Dict) any {
	x.params("items", args[1:], kwargs, 0)
	d := args[0].(*Dict)
	x.work(8 * len(d.keys))
	return &sequence{isItems, d.items()}
}

func methodKeys(x *execution, args []any, kwargs *Dict) any {
	x.params("keys", args[1:], kwargs, 0)
	return &sequence{isKeys, args[0].(*Dict).keys}
}

func methodValues(x *execution, args []any, kwargs *Dict) any {
	x.params("values", args[1:], kwargs, 0)
	return &sequence{isValues, args[0].(*Dict).values}
}
