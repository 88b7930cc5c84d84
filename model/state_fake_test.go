package model_test

import "github.com/inferflux/inferflux/nn"

func (o ops) Multiply(a, b nn.Tensor) nn.Tensor {
	must(a.Rows == b.Rows && (a.Cols == b.Cols || b.Cols == 1), "product of %v and %v", a, b)
	o.note("multiply")
	return a
}

func (o ops) ShortConv(x nn.Tensor, c *nn.ShortConv) nn.Tensor {
	must(c.Taps.Out == c.Width*x.Cols && (!c.Bias.Present() || c.Bias.Out == x.Cols), "convolution %+v of %v", *c, x)
	o.note("convolution %+v", *c)
	return x
}

func (o ops) Scan(xbc, steps nn.Tensor, s *nn.SelectiveScan) nn.Tensor {
	inner := s.Heads * s.HeadDim
	must(xbc.Cols == inner+2*s.State && steps.Cols == s.Heads && s.Decay.Out == s.Heads && s.Skip.Out == s.Heads && s.StepBias.Out == s.Heads, "scan %+v of %v, %v", *s, xbc, steps)
	o.note("scan %+v", *s)
	xbc.Cols = inner
	return xbc
}

func (o ops) DeltaRule(qkv, gates nn.Tensor, d *nn.DeltaRule) nn.Tensor {
	must(qkv.Cols == 2*d.KeyHeads*d.KeyDim+d.Heads*d.Dim && gates.Cols == 2*d.Heads && d.Decay.Out == d.Heads && d.StepBias.Out == d.Heads, "delta rule %+v of %v, %v", *d, qkv, gates)
	o.note("delta rule %+v", *d)
	qkv.Cols = d.Heads * d.Dim
	return qkv
}
