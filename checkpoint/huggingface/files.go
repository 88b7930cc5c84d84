package huggingface

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/checkpoint/npz"
	"github.com/inferflux/inferflux/checkpoint/safetensors"
)

const (
	configName = "config.json"
	singleName = "model.safetensors"
	indexName  = "model.safetensors.index.json"

	maxConfig = 8 << 20
	maxIndex  = 64 << 20
	maxListed = 20 // problems in one error
)

// weights are the files of a folder that hold its model's tensors.
type weights struct {
	files []string
	index map[string]string // the file of each tensor; nil without an index
}

// shardName takes the name of one of several files apart.
var shardName = regexp.MustCompile(`^model-([0-9]{5})-of-([0-9]{5})\.safetensors$`)

// findWeights chooses among the names in a folder; see the package comment.
func findWeights(dir string, names []string) (*weights, error) {
	single := slices.Contains(names, singleName)
	if slices.Contains(names, indexName) {
		w, err := readIndex(dir, names)
		switch {
		case err == nil:
			return w, nil
		case !single || errors.Is(err, errDamaged):
			return nil, err
		}
		// The index is a leftover: it names files that aren't there.
	}
	if single {
		return &weights{files: []string{singleName}}, nil
	}
	for _, pattern := range []string{"model-*-of-*.safetensors", "model*.safetensors", "weights*.safetensors", "weights*.npz"} {
		var found []string
		for _, n := range names {
			if ok, _ := path.Match(pattern, n); ok {
				found = append(found, n)
			}
		}
		if len(found) > 0 {
			return &weights{files: found}, complete(found)
		}
	}
	var others []string
	for _, n := range names {
		if strings.EqualFold(filepath.Ext(n), ".safetensors") && !strings.HasPrefix(n, "adapter") {
			others = append(others, n)
		}
	}
	switch {
	case len(others) == 1:
		return &weights{files: others}, nil
	case len(others) > 1:
		return nil, fmt.Errorf("which of %s is the model? Name it %s, or add %s", strings.Join(others[:min(len(others), maxListed)], ", "), singleName, indexName)
	}
	return nil, noWeights(names)
}

// noWeights explains why there is nothing to open, and what to do.
func noWeights(names []string) error {
	has := func(match func(string) bool) bool { return slices.ContainsFunc(names, match) }
	switch {
	case has(func(n string) bool { return strings.HasPrefix(n, "adapter") && isWeights(n) }):
		return errors.New("it holds an adapter, not a model: merge it into its model first")
	case has(func(n string) bool {
		return slices.Contains([]string{".bin", ".pth", ".pt"}, strings.ToLower(filepath.Ext(n)))
	}):
		return errors.New("its weights are PyTorch pickles, which can run code when they are read and are never opened here: get the model as safetensors, or convert it (transformers' save_pretrained writes them)")
	}
	return errors.New("it has no weights: download the model's .safetensors files too")
}

// complete checks that files numbered -00001-of-00003 are all there.
func complete(found []string) error {
	var missing []string
	for _, n := range found {
		m := shardName.FindStringSubmatch(n)
		if m == nil {
			continue
		}
		count, _ := strconv.Atoi(m[2])
		for i := 1; i <= count && len(missing) < maxListed; i++ {
			want := fmt.Sprintf("model-%05d-of-%s.safetensors", i, m[2])
			if !slices.Contains(found, want) && !slices.Contains(missing, want) {
				missing = append(missing, want)
			}
		}
	}
	return missingFiles(missing)
}

func missingFiles(missing []string) error {
	if len(missing) == 0 {
		return nil
	}
	more := ""
	if n := len(missing) - maxListed; n > 0 {
		missing, more = missing[:maxListed], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("parts of the model are missing: %s%s: %w", strings.Join(missing, ", "), more, fs.ErrNotExist)
}

// errDamaged marks an index that can't be read at all.
var errDamaged = errors.New("the index is damaged")

// readIndex reads which file each tensor is in.
func readIndex(dir string, names []string) (*weights, error) {
	data, err := checkpoint.ReadFile(filepath.Join(dir, indexName), maxIndex)
	if err != nil {
		return nil, err
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", indexName, errDamaged, err)
	}
	if len(index.WeightMap) == 0 {
		return nil, fmt.Errorf("%s: %w: weight_map names no tensors", indexName, errDamaged)
	}
	w := &weights{index: index.WeightMap}
	seen := map[string]bool{}
	for _, name := range index.WeightMap {
		if !seen[name] {
			seen[name] = true
			w.files = append(w.files, name)
		}
	}
	slices.Sort(w.files)
	var missing []string
	for _, name := range w.files {
		if filepath.Base(name) != name || !filepath.IsLocal(name) || !isWeights(name) {
			return nil, fmt.Errorf("%s: %w: %q is not a file of tensors in the folder", indexName, errDamaged, name)
		}
		if !slices.Contains(names, name) {
			missing = append(missing, name)
		}
	}
	return w, missingFiles(missing)
}

// check compares the index with where tensors really are.
func (w *weights) check(where map[string]string) error {
	var wrong []string
	for name, file := range w.index {
		if found, ok := where[name]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s should be in %s and isn't", name, file))
		} else if found != file {
			wrong = append(wrong, fmt.Sprintf("%s should be in %s and is in %s", name, file, found))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	more := ""
	if n := len(wrong) - maxListed; n > 0 {
		wrong, more = wrong[:maxListed], fmt.Sprintf("; and %d more", n)
	}
	return fmt.Errorf("%s doesn't fit the files: %s%s", indexName, strings.Join(wrong, "; "), more)
}

// only checks that a file named on its own is the whole model.
func (w *weights) only(name, dir string) error {
	switch {
	case !slices.Contains(w.files, name):
		return fmt.Errorf("%s is not the model of its folder, which is %s: open the folder, or move the file to one of its own with the %s that belongs to it",
			name, strings.Join(w.files[:min(len(w.files), maxListed)], ", "), configName)
	case len(w.files) > 1:
		return fmt.Errorf("%s is one of the %d files of a model: open the folder %s instead", name, len(w.files), dir)
	}
	return nil
}

func openFile(path string) (file, error) {
	if strings.EqualFold(filepath.Ext(path), ".npz") {
		f, err := npz.Open(path)
		if err != nil {
			return nil, err
		}
		return f, nil
	}
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	return f, nil
}
