package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/inferflux/inferflux/cmd/internal/daemon"
	"github.com/inferflux/inferflux/config"
	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/mlx/install"
	"github.com/inferflux/inferflux/registry"
)

func (a *app) backendsInstall() *cobra.Command {
	var device string
	var force, noVerify, asJSON bool
	cmd := &cobra.Command{
		Use:   "install mlx",
		Short: "Install the native library of a backend",
		Long: `Install the native library of a backend. There is one at present: MLX, for mlx.

On Linux, MLX's wheel for the device (cpu, or an NVIDIA GPU by cuda12 or cuda13)
is fetched through the machine's pip and checked by its SHA-256; a small C++
library that gives MLX a C interface is compiled against it; and a process of its
own loads the result and computes with it. For a GPU, NVIDIA's libraries are
fetched too (about 2 GB), unless those of the system serve. It needs Python 3 with
pip, a C++20 compiler, and glibc 2.35. On macOS, Homebrew's mlx-c is taken (metal).

Everything lies in ~/.inferflux/mlx. Run again, it only verifies. Environment:

  PIP_INDEX_URL, PIP_FIND_LINKS, PIP_NO_INDEX, …  as pip understands them
  CXX                      the compiler
  INFERFLUX_EMBED_MLXC=0   compile nothing: verify and record the genuine mlx-c
                           that MLX_C_ROOT names or the system has`,
		Example: `  inferctl backends install mlx
  inferctl backends install mlx --device cpu
  PIP_NO_INDEX=1 PIP_FIND_LINKS=/media/wheels inferctl backends install mlx`,
		ValidArgs: []string{"mlx"},
		Args:      installable,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if device != "" && !slices.Contains(install.Devices, install.Device(device)) {
				return usagef("--device must be cpu, cuda12, cuda13 or metal, not %q", device)
			}
			home, err := registry.Home()
			if err != nil {
				return err
			}
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program, which verifies MLX: %w", err)
			}
			o := install.Options{
				Home: home, Device: install.Device(device), Force: force, NoVerify: noVerify,
				Verifier: []string{program, "backends", "verify-mlx"},
			}
			if o.Foreign, err = foreignMLX(); err != nil {
				return err
			}
			ctx, stop := daemon.Interruptible(cmd.Context())
			defer stop()
			p := newProgress(cmd.ErrOrStderr())
			defer p.done()
			o.Progress = p.update
			o.Step = func(name, detail string, took time.Duration) {
				p.done()
				if took >= 100*time.Millisecond {
					detail += dim(cmd.ErrOrStderr(), fmt.Sprintf(" (%s)", took.Round(100*time.Millisecond)))
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "  %-9s %s\n", name, detail)
			}
			rec, err := install.Run(ctx, o)
			p.done()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), rec)
			}
			installed(cmd.OutOrStdout(), rec)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&device, "device", "", "cpu, cuda12, cuda13 or metal (default what the machine has)")
	f.BoolVar(&force, "force", false, "install again what is there already")
	f.BoolVar(&noVerify, "no-verify", false, "don't load it, as when building an image on a machine without the GPU")
	f.BoolVar(&asJSON, "json", false, "print the record of the installation as JSON")
	return cmd
}

// installable checks the name of the backend to install.
func installable(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("name the backend to install: inferctl backends install mlx")
	}
	switch name := args[0]; name {
	case "mlx":
		return nil
	case "cpu":
		return fmt.Errorf("the cpu backend is built in: there is nothing to install")
	case "cuda", "rocm", "mps":
		return fmt.Errorf("the engine of %s comes later; what can be installed is mlx", name)
	default:
		return fmt.Errorf("there is no backend %q to install; what can be installed is mlx", name)
	}
}

// foreignMLX is the genuine mlx-c to use where INFERFLUX_EMBED_MLXC forbids to
// build a library, or nil.
func foreignMLX() (*install.Library, error) {
	const variable = "INFERFLUX_EMBED_MLXC"
	value := os.Getenv(variable)
	build, err := config.ParseSwitch(cmp.Or(value, "1"))
	if err != nil {
		return nil, usagef("%s: %w", variable, err)
	}
	if build {
		return nil, nil
	}
	l, err := mlx.Find(mlx.FindOptions{Getenv: func(name string) string {
		switch name {
		case "HOME", "INFERFLUX_HOME", "ENABLE_MLX": // what was installed before isn't meant
			return ""
		}
		return os.Getenv(name)
	}})
	if err != nil {
		return nil, fmt.Errorf("%s=%s, and %w", variable, value, err)
	}
	return &install.Library{C: l.Path, MLX: l.MLX}, nil
}

// installed says what there is now and what to do with it.
func installed(w io.Writer, r install.Record) {
	state := "was installed already"
	if r.Fresh {
		state = "is installed"
	}
	fmt.Fprintf(w, "MLX %s (%s) %s: %s\n", r.MLXVersion, r.Device, state, r.Library)
	if r.Verified == nil {
		fmt.Fprintln(w, "It wasn't tried. On the machine that is to run it: inferctl backends")
		return
	}
	fmt.Fprintln(w, "Next: inferctl quickstart --backend mlx, or backend: mlx for a model in the configuration")
}

// backendsVerify is how the installer tries a library: in a process that may
// crash.
func (a *app) backendsVerify() *cobra.Command {
	var l install.Library
	var device string
	cmd := &cobra.Command{
		Use:    "verify-mlx",
		Short:  "Load MLX and compute with it",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			facts, err := install.Verify(l, install.Device(device))
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), facts)
		},
	}
	cmd.Flags().StringVar(&l.C, "library", "", "libmlxc")
	cmd.Flags().StringVar(&l.MLX, "mlx-library", "", "libmlx, to be loaded first")
	cmd.Flags().StringVar(&device, "device", "", "what to compute on")
	return cmd
}
