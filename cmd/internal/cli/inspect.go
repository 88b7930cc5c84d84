package cli

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/inferflux/inferflux/chat"
	"github.com/inferflux/inferflux/chat/dialect"
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/registry"
)

// inspection is what "models inspect" prints.
type inspection struct {
	File         string          `json:"file"`
	Size         int64           `json:"size"`
	Format       string          `json:"format"`
	Architecture string          `json:"architecture"`
	Name         string          `json:"name,omitempty"`
	Supported    bool            `json:"supported"`
	Problem      string          `json:"problem,omitempty"` // why it isn't
	Parameters   int64           `json:"parameters"`
	Quantization string          `json:"quantization,omitempty"`
	Context      int             `json:"context_length,omitempty"`
	Layers       int             `json:"layers,omitempty"`
	Hidden       int             `json:"hidden,omitempty"`
	Heads        int             `json:"heads,omitempty"`
	KVHeads      int             `json:"kv_heads,omitempty"`
	HeadDim      int             `json:"head_dim,omitempty"`
	Vocabulary   int             `json:"vocabulary,omitempty"`
	Types        []tensorTypeSum `json:"tensor_types"`
	Tensors      []tensorRow     `json:"tensors,omitempty"`
	Memory       *memory         `json:"memory,omitempty"`
	// How the model writes calls of tools and marks its reasoning, by its chat template.
	ToolFormat      string `json:"tool_format,omitempty"`
	ReasoningFormat string `json:"reasoning_format,omitempty"`
}

type tensorTypeSum struct {
	Type    string `json:"type"`
	Tensors int    `json:"tensors"`
	Bytes   int64  `json:"bytes"`
}

type tensorRow struct {
	Name   string `json:"name"`
	Type   string `json:"type"` // "Q4_K", or "affine 4-bit/64"
	Shape  []int  `json:"shape"`
	File   string `json:"file"`
	Offset int64  `json:"offset"` // from the start of the file
	Bytes  int64  `json:"bytes"`
	// Beside are the arrays of scales and biases of a matrix that MLX quantized;
	// the matrix's own bytes are its codes.
	Beside []tensorRow `json:"beside,omitempty"`
}

func newTensorRow(e checkpoint.Entry) tensorRow {
	r := tensorRow{Name: e.Name, Type: e.Encoding(), Shape: e.Shape, File: e.File, Offset: e.Offset, Bytes: e.Bytes}
	for _, b := range e.Beside {
		r.Beside = append(r.Beside, newTensorRow(b))
	}
	return r
}

// memory is an estimate for one sequence that fills the context.
type memory struct {
	Context int   `json:"context"`
	Weights int64 `json:"weights_bytes"`
	KV      int64 `json:"kv_bytes"`
	// States is what layers of convolutions and recurrences keep, whatever the context.
	States int64 `json:"state_bytes,omitempty"`
}

func (a *app) modelsInspect() *cobra.Command {
	var asJSON, tensors bool
	var context int
	cmd := &cobra.Command{
		Use:   "inspect NAME|PATH",
		Short: "Look into a model",
		Long: `Look into a model without loading it: architecture, size, number formats of its
tensors, and the memory it needs for a context of a given length. PATH is a GGUF
file, or a folder in Hugging Face's or MLX's form.`,
		Example: `  inferctl models inspect smollm2:135m --context 8192
  inferctl models inspect ./model.gguf --tensors
  inferctl models inspect ./Qwen3-4B-4bit --tensors --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if context < 0 {
				return usagef("--context must not be negative, but is %d", context)
			}
			m, err := findModel(args[0])
			if err != nil {
				return err
			}
			c, err := checkpoint.Open(m.Path())
			if err != nil {
				return err
			}
			defer c.Close()
			in := inspect(c, context, tensors)
			if asJSON {
				return printJSON(cmd.OutOrStdout(), in)
			}
			in.write(cmd)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&tensors, "tensors", false, "list every tensor, with its file, offset and bytes")
	cmd.Flags().IntVarP(&context, "context", "c", 0, "context length to compute the memory for (default the model's own)")
	return cmd
}

func inspect(c checkpoint.Checkpoint, context int, tensors bool) inspection {
	in := inspection{File: c.Path(), Size: c.Size(), Format: string(c.Format())}
	sums := map[string]*tensorTypeSum{}
	for _, e := range c.Tensors() {
		t := e.Encoding()
		if sums[t] == nil {
			sums[t] = &tensorTypeSum{Type: t}
		}
		sums[t].Tensors++
		sums[t].Bytes += e.Stored()
		elements := int64(1)
		for _, n := range e.Shape {
			elements *= int64(n)
		}
		in.Parameters += elements
		if tensors {
			in.Tensors = append(in.Tensors, newTensorRow(e))
		}
	}
	for _, s := range sums {
		in.Types = append(in.Types, *s)
	}
	slices.SortFunc(in.Types, func(a, b tensorTypeSum) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Type, b.Type))
	})
	config, err := model.Inspect(c)
	if err != nil {
		in.Problem = err.Error()
		in.Architecture, _ = c.Metadata().String("general.architecture")
		if classes, ok := c.Metadata().Strings("architectures"); ok {
			in.Architecture = strings.Join(classes, ", ")
		}
		in.Name, _ = c.Metadata().String("general.name")
		return in
	}
	in.Supported = true
	in.Architecture, in.Name, in.Quantization = config.Architecture, config.Name, config.Quantization
	in.Context, in.Layers, in.Hidden, in.Heads = config.Context, config.Layers, config.Hidden, config.Heads
	in.KVHeads, in.HeadDim, in.Vocabulary = config.KVHeads, config.HeadDim, config.Vocab
	if config.Parameters > 0 {
		in.Parameters = config.Parameters
	}
	if template, err := chat.FromCheckpoint(c, "", ""); err == nil {
		// Without the tokenizer, which takes a moment to read.
		d := dialect.Detect(template.Source()+template.ToolSource(), nil)
		in.ToolFormat, in.ReasoningFormat = d.ToolFormat(), d.ReasoningFormat()
	}
	if context == 0 {
		context = config.Context
	}
	const halfFloat, keysAndValues = 2, 2
	_, layers := config.KVLayers()
	perToken := int64(layers) * int64(config.KVHeads) * int64(config.HeadDim) * keysAndValues * halfFloat
	in.Memory = &memory{Context: context, Weights: in.Size, KV: perToken * int64(context), States: 4 * int64(config.StateElements())}
	return in
}

func (in inspection) write(cmd *cobra.Command) {
	w := cmd.OutOrStdout()
	t := newTable("", "")
	row := func(name, format string, args ...any) { t.add(name, fmt.Sprintf(format, args...)) }
	row("file", "%s, %s", in.File, registry.FormatBytes(in.Size))
	row("format", "%s", in.Format)
	row("architecture", "%s", in.Architecture)
	if in.Name != "" {
		row("name", "%s", oneLine(in.Name))
	}
	row("parameters", "%s", countParameters(in.Parameters))
	if in.Supported {
		row("quantization", "%s", in.Quantization)
		row("context", "%d", in.Context)
		row("shape", "%d layers, hidden %d, %d heads of %d, %d key-value heads", in.Layers, in.Hidden, in.Heads, in.HeadDim, in.KVHeads)
		row("vocabulary", "%d", in.Vocabulary)
		if in.ToolFormat != "" {
			row("chat", "tools as %s, reasoning %s", in.ToolFormat, in.ReasoningFormat)
		}
		row("memory", "%s for weights, %s for a context of %d in f16", registry.FormatBytes(in.Memory.Weights), registry.FormatBytes(in.Memory.KV), in.Memory.Context)
		if in.Memory.States > 0 {
			row("states", "%s a sequence, at any length", registry.FormatBytes(in.Memory.States))
		}
	} else {
		row("can't run", "%s", in.Problem)
	}
	t.head = t.rows[0]
	t.rows = t.rows[1:]
	t.write(w)
	fmt.Fprintln(w)
	types := newTable("TYPE", ">TENSORS", ">SIZE")
	for _, s := range in.Types {
		types.add(s.Type, fmt.Sprint(s.Tensors), registry.FormatBytes(s.Bytes))
	}
	types.write(w)
	if len(in.Tensors) > 0 {
		fmt.Fprintln(w)
		all := newTable("TENSOR", "TYPE", "SHAPE", "FILE", ">OFFSET", ">BYTES")
		for _, r := range in.Tensors {
			r.add(all, "")
		}
		all.write(w)
	}
}

// add puts the tensor into a table, and what lies beside it below, indented.
func (r tensorRow) add(t *table, indent string) {
	shape := strings.Trim(strings.ReplaceAll(fmt.Sprint(r.Shape), " ", "×"), "[]")
	t.add(indent+oneLine(r.Name), r.Type, shape, oneLine(filepath.Base(r.File)), fmt.Sprint(r.Offset), fmt.Sprint(r.Bytes))
	for _, b := range r.Beside {
		b.add(t, indent+"  ")
	}
}
