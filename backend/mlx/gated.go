package mlx

import (
	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/nn"
)

// gated is act(gate)·up, for one activation.
type gated struct {
	act      func(g *mlx.Scope, x mlx.Array) mlx.Array
	plain    func(g *mlx.Scope, gate, up mlx.Array) mlx.Array
	compiled *mlx.Compiled // one kernel; nil: not compiled
}

// newGated makes the gated activations, by nn.Activation. On a CPU, MLX would call
// a C++ compiler for them: there they stay operations of their own.
func newGated(lib *mlx.Library, compile bool) ([]gated, error) {
	const cubic, rootTwoOverPi, rootHalf = 0.044715, 0.7978845608028654, 0.7071067811865476
	var all []gated
	for _, act := range []func(g *mlx.Scope, x mlx.Array) mlx.Array{
		nn.SiLU: func(g *mlx.Scope, x mlx.Array) mlx.Array { return g.Multiply(x, g.Sigmoid(x)) },
		nn.GELUTanh: func(g *mlx.Scope, x mlx.Array) mlx.Array {
			d := lib.DType(x)
			inner := g.Multiply(g.Add(x, g.Multiply(g.Scalar(cubic, d), g.Multiply(x, g.Square(x)))), g.Scalar(rootTwoOverPi, d))
			return g.Multiply(g.Multiply(x, g.Scalar(0.5, d)), g.Add(g.Tanh(inner), g.Scalar(1, d)))
		},
		nn.GELU: func(g *mlx.Scope, x mlx.Array) mlx.Array {
			d := lib.DType(x)
			return g.Multiply(g.Multiply(x, g.Scalar(0.5, d)), g.Add(g.Erf(g.Multiply(x, g.Scalar(rootHalf, d))), g.Scalar(1, d)))
		},
		nn.Sigmoid: func(g *mlx.Scope, x mlx.Array) mlx.Array { return g.Sigmoid(x) },
	} {
		a := gated{act: act, plain: func(g *mlx.Scope, gate, up mlx.Array) mlx.Array { return g.Multiply(act(g, gate), up) }}
		if compile {
			var err error
			a.compiled, err = lib.Compile(func(g *mlx.Scope, in []mlx.Array) []mlx.Array {
				return []mlx.Array{a.plain(g, in[0], in[1])}
			}, true)
			if err != nil {
				return all, err
			}
		}
		all = append(all, a)
	}
	return all, nil
}

// on is the activation. Within a graph that is being recorded it isn't compiled on
// its own.
func (a *gated) on(g *mlx.Scope, gate, up mlx.Array, recording bool) mlx.Array {
	if a.compiled == nil || recording {
		return a.plain(g, gate, up)
	}
	return first(g.Call(a.compiled, gate, up))
}
