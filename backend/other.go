package backend

// otherBackends are the names that configuration may use but for which this
// build has no engine. A backend that registers under one of them takes its
// place.
var otherBackends = []Description{
	{Name: "mlx", Device: "Apple GPU (Metal), NVIDIA GPU (CUDA)", Reason: "this build has no MLX engine"},
	{Name: "cuda", Device: "NVIDIA GPU", Reason: "its engine, on llama.cpp's library, comes later; no library was looked for"},
	{Name: "rocm", Device: "AMD GPU", Reason: "its engine, on llama.cpp's library, comes later; no library was looked for"},
	{Name: "mps", Device: "Apple GPU", Reason: "its engine, on llama.cpp's library, comes later; no library was looked for"},
}

// remedies are what runs on the same device until then.
var remedies = map[string]string{
	"mlx":  "use the cpu backend",
	"cuda": "use mlx, which runs on NVIDIA GPUs, or cpu",
	"rocm": "use the cpu backend",
	"mps":  "use mlx, which runs on Apple GPUs, or cpu",
}

func notBuilt(name string) (Description, bool) {
	for _, d := range otherBackends {
		if d.Name == name {
			d.Remedy = remedies[name]
			return d, true
		}
	}
	return Description{}, false
}
