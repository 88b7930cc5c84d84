package grammar

func compileGBNF(lim *budget, s string) *program   { panic(abort{ErrEmpty}) }
func compileLark(lim *budget, s string) *program   { panic(abort{ErrEmpty}) }
func compileSchema(lim *budget, s string) *program { panic(abort{ErrEmpty}) }
