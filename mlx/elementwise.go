package mlx

// Operations on elements. Two arrays are broadcast to one shape, and their types
// promoted to one.

// Add is a + b.
func (s *Scope) Add(a, b Array) Array { return s.binary(fnAdd, a, b) }

// Subtract is a - b.
func (s *Scope) Subtract(a, b Array) Array { return s.binary(fnSubtract, a, b) }

// Multiply is a · b.
func (s *Scope) Multiply(a, b Array) Array { return s.binary(fnMultiply, a, b) }

// Divide is a / b, a float even of integers.
func (s *Scope) Divide(a, b Array) Array { return s.binary(fnDivide, a, b) }

// Maximum is the larger of a and b, NaN if either is.
func (s *Scope) Maximum(a, b Array) Array { return s.binary(fnMaximum, a, b) }

// Minimum is the smaller of a and b, NaN if either is.
func (s *Scope) Minimum(a, b Array) Array { return s.binary(fnMinimum, a, b) }

// Power is a to the power b.
func (s *Scope) Power(a, b Array) Array { return s.binary(fnPower, a, b) }

// Remainder is what a leaves divided by b, with b's sign.
func (s *Scope) Remainder(a, b Array) Array { return s.binary(fnRemainder, a, b) }

// FloorDivide is a / b rounded down.
func (s *Scope) FloorDivide(a, b Array) Array { return s.binary(fnFloorDivide, a, b) }

// LogAddExp is log(eᵃ + eᵇ), without overflow.
func (s *Scope) LogAddExp(a, b Array) Array { return s.binary(fnLogAddExp, a, b) }

// Equal is a = b, as bool.
func (s *Scope) Equal(a, b Array) Array { return s.binary(fnEqual, a, b) }

// NotEqual is a ≠ b, as bool.
func (s *Scope) NotEqual(a, b Array) Array { return s.binary(fnNotEqual, a, b) }

// Greater is a > b, as bool.
func (s *Scope) Greater(a, b Array) Array { return s.binary(fnGreater, a, b) }

// GreaterEqual is a ≥ b, as bool.
func (s *Scope) GreaterEqual(a, b Array) Array { return s.binary(fnGreaterEqual, a, b) }

// Less is a < b, as bool.
func (s *Scope) Less(a, b Array) Array { return s.binary(fnLess, a, b) }

// LessEqual is a ≤ b, as bool.
func (s *Scope) LessEqual(a, b Array) Array { return s.binary(fnLessEqual, a, b) }

// LogicalAnd is a and b, as bool.
func (s *Scope) LogicalAnd(a, b Array) Array { return s.binary(fnLogicalAnd, a, b) }

// LogicalOr is a or b, as bool.
func (s *Scope) LogicalOr(a, b Array) Array { return s.binary(fnLogicalOr, a, b) }

// BitwiseAnd is the bits set in both.
func (s *Scope) BitwiseAnd(a, b Array) Array { return s.binary(fnBitwiseAnd, a, b) }

// BitwiseOr is the bits set in either.
func (s *Scope) BitwiseOr(a, b Array) Array { return s.binary(fnBitwiseOr, a, b) }

// BitwiseXor is the bits set in one only.
func (s *Scope) BitwiseXor(a, b Array) Array { return s.binary(fnBitwiseXor, a, b) }

// LeftShift is a with its bits moved up by b.
func (s *Scope) LeftShift(a, b Array) Array { return s.binary(fnLeftShift, a, b) }

// RightShift is a with its bits moved down by b.
func (s *Scope) RightShift(a, b Array) Array { return s.binary(fnRightShift, a, b) }

// Negative is -a.
func (s *Scope) Negative(a Array) Array { return s.unary(fnNegative, a) }

// Abs is |a|.
func (s *Scope) Abs(a Array) Array { return s.unary(fnAbs, a) }

// Exp is eᵃ.
func (s *Scope) Exp(a Array) Array { return s.unary(fnExp, a) }

// Expm1 is eᵃ - 1, exact near 0.
func (s *Scope) Expm1(a Array) Array { return s.unary(fnExpm1, a) }

// Log is the natural logarithm.
func (s *Scope) Log(a Array) Array { return s.unary(fnLog, a) }

// Log1p is log(1 + a), exact near 0.
func (s *Scope) Log1p(a Array) Array { return s.unary(fnLog1p, a) }

// Sigmoid is 1 / (1 + e⁻ᵃ).
func (s *Scope) Sigmoid(a Array) Array { return s.unary(fnSigmoid, a) }

// Tanh is the hyperbolic tangent.
func (s *Scope) Tanh(a Array) Array { return s.unary(fnTanh, a) }

// Erf is the error function.
func (s *Scope) Erf(a Array) Array { return s.unary(fnErf, a) }

// Sqrt is the square root.
func (s *Scope) Sqrt(a Array) Array { return s.unary(fnSqrt, a) }

// Rsqrt is 1 / √a.
func (s *Scope) Rsqrt(a Array) Array { return s.unary(fnRsqrt, a) }

// Square is a².
func (s *Scope) Square(a Array) Array { return s.unary(fnSquare, a) }

// Reciprocal is 1 / a.
func (s *Scope) Reciprocal(a Array) Array { return s.unary(fnReciprocal, a) }

// Sin is the sine, of radians.
func (s *Scope) Sin(a Array) Array { return s.unary(fnSin, a) }

// Cos is the cosine, of radians.
func (s *Scope) Cos(a Array) Array { return s.unary(fnCos, a) }

// Floor is a rounded down.
func (s *Scope) Floor(a Array) Array { return s.unary(fnFloor, a) }

// Ceil is a rounded up.
func (s *Scope) Ceil(a Array) Array { return s.unary(fnCeil, a) }

// Sign is -1, 0 or 1.
func (s *Scope) Sign(a Array) Array { return s.unary(fnSign, a) }

// LogicalNot is whether a is zero, as bool.
func (s *Scope) LogicalNot(a Array) Array { return s.unary(fnLogicalNot, a) }

// IsNaN is whether a is not a number, as bool.
func (s *Scope) IsNaN(a Array) Array { return s.unary(fnIsNaN, a) }

// IsInf is whether a is infinite, as bool.
func (s *Scope) IsInf(a Array) Array { return s.unary(fnIsInf, a) }

// Round rounds to a number of decimals, halves to even.
func (s *Scope) Round(a Array, decimals int) Array { return s.withInt(fnRound, a, decimals) }

// Clip limits a to the range from low to high, either of which may be absent.
func (s *Scope) Clip(a, low, high Array) Array { return s.ternary(fnClip, a, low, high) }

// Where is x where condition is true, y elsewhere.
func (s *Scope) Where(condition, x, y Array) Array { return s.ternary(fnWhere, condition, x, y) }

func (s *Scope) ternary(f fn, a, b, c Array) Array {
	if s.err != nil {
		return Array{}
	}
	s.args[0], s.args[1], s.args[2], s.args[3], s.args[4] = s.outPtr, a.ctx, b.ctx, c.ctx, s.stream.ctx
	return s.call(f, 5, a, b, c)
}
