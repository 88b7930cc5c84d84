package backend

// otherBackends are the names that configuration may use but for which this
// build has no engine. A backend that registers under one of them takes its
// place.
var otherBackends = []Description{
	{Name: "mlx", Device: "Apple GPU (Metal), NVIDIA GPU (CUDA)"},
	{Name: "cuda", Device: "NVIDIA GPU"},
	{Name: "rocm", Device: "AMD GPU"},
	{Name: "mps", Device: "Apple GPU"},
}

func notBuilt(name string) (Description, bool) {
	for _, d := range otherBackends {
		if d.Name == name {
			d.Reason = "not in this build yet"
			d.Remedy = "use the cpu backend, or an inferflux release whose notes list " + name
			return d, true
		}
	}
	return Description{}, false
}
