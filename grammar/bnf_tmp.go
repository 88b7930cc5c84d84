package grammar

func compileGBNF(lim *budget, s string) *program { panic(abort{ErrEmpty}) }
func compileLark(lim *budget, s string) *program { panic(abort{ErrEmpty}) }
