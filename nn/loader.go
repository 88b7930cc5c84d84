package nn

import "github.com/inferflux/inferflux/tensor"

// Loader turns stored tensors into a backend's weights. A backend hands one to
// model.Load; what it makes belongs to the engine being built.
//
// The tensors' bytes may be a view of a mapped file: a Loader that keeps them
// says so to the engine, which then keeps the checkpoint open.
type Loader interface {
	// Linear makes one weight of matrices that read the same input, stacked by
	// rows in the order given: fused QKV or gate-and-up projections run as one
	// product. The parts may be stored in different types. Their bytes are used
	// as they are, never quantized anew to a coarser type.
	Linear(parts ...tensor.Tensor) (Weight, error)
	// Experts makes one weight of an equal matrix for each expert, for Ops.Experts:
	// parts[i] are the stacked parts of expert i's, as for Linear.
	Experts(parts [][]tensor.Tensor) (Weight, error)
	// Embedding makes a look-up table [vocab, hidden] that Linear accepts too
	// (a model may tie its output layer to it).
	Embedding(t tensor.Tensor) (Weight, error)
	// Vector makes a norm's weights or a bias, several concatenated in order.
	Vector(parts ...tensor.Tensor) (Weight, error)
}
