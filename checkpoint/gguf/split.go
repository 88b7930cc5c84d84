package gguf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

// Keys that the parts of a split model have.
const (
	keySplitNo      = "split.no"            // of this part, from 0
	keySplitCount   = "split.count"         // parts
	keySplitTensors = "split.tensors.count" // in all parts together
)

// splitName takes a part's path apart: what comes before the numbers, counted
// from 1.
var splitName = regexp.MustCompile(`^(.*)-([0-9]{5})-of-([0-9]{5})\.gguf$`)

func partPath(prefix string, number, count int) string {
	return fmt.Sprintf("%s-%05d-of-%05d.gguf", prefix, number, count)
}

// addSplits opens the other parts, if the first says that there are any.
func (f *File) addSplits() error {
	first := f.parts[0]
	if _, ok := first.meta.values[keySplitCount]; !ok {
		return nil
	}
	count, ok := first.meta.Int(keySplitCount)
	switch {
	case count == 1:
		return nil
	case !ok || count < 1 || count > 99999:
		return first.wrong(keySplitCount, "1 to 99999 parts")
	}
	name := splitName.FindStringSubmatch(f.path)
	number, ok := first.meta.Int(keySplitNo)
	if !ok || number < 0 || number >= count {
		return first.wrong(keySplitNo, fmt.Sprintf("a part from 0 to %d", count-1))
	}
	if number > 0 {
		hint := "its first part"
		if name != nil {
			hint = partPath(name[1], 1, count)
		}
		return fmt.Errorf("%s is part %d of %d of a split model: open %s instead", f.path, number+1, count, hint)
	}
	if name == nil || partPath(name[1], 1, count) != f.path {
		return fmt.Errorf("%s is the first of %d parts of a split model, but its name doesn't end in %s: the other parts can't be found",
			f.path, count, partPath("", 1, count))
	}
	if err := missingParts(name[1], count); err != nil {
		return err
	}
	for i := 1; i < count; i++ {
		if err := f.add(partPath(name[1], i+1, count)); err != nil {
			return err
		}
		p := f.parts[i]
		if n, ok := p.meta.Int(keySplitNo); !ok || n != i {
			return p.wrong(keySplitNo, fmt.Sprint(i))
		}
		if n, ok := p.meta.Int(keySplitCount); !ok || n != count {
			return p.wrong(keySplitCount, fmt.Sprint(count))
		}
	}
	if n, ok := first.meta.Int(keySplitTensors); ok && n != len(f.tensors) {
		return first.wrong(keySplitTensors, fmt.Sprintf("the %d tensors that the parts hold", len(f.tensors)))
	}
	return nil
}

// missingParts names the parts that aren't there, before any is mapped.
func missingParts(prefix string, count int) error {
	const most = 4
	var missing []string
	more := 0
	for i := 2; i <= count; i++ {
		path := partPath(prefix, i, count)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			if len(missing) < most {
				missing = append(missing, path)
			} else {
				more++
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	list := strings.Join(missing, ", ")
	if more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Errorf("parts of a split model are missing: %s: %w", list, fs.ErrNotExist)
}

// wrong says that a key is missing or isn't what it must be.
func (p *part) wrong(key, expected string) error {
	e := &FormatError{File: p.path, Offset: int64(p.end), What: fmt.Sprintf("metadata %q", key), Expected: expected, Found: "no such key"}
	if v, ok := p.meta.Value(key); ok {
		e.Offset = int64(p.meta.values[key].at)
		found := fmt.Sprint(v)
		e.Found = found[:min(len(found), 100)]
	}
	return e
}
