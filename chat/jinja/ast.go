package jinja

// Statements.
type (
	stmt interface{ stmtNode() }

	textStmt   struct{ text string }
	outputStmt struct {
		line int
		expr expr
	}
	// ifStmt runs the body of the first condition that holds; bodies has one more
	// element than conds when there is an else.
	ifStmt struct {
		line   int
		conds  []expr
		bodies [][]stmt
	}
	forStmt struct {
		line      int
		target    expr // nameExpr or a tuple of targets
		iter      expr
		filter    expr // nil without
		body      []stmt
		orElse    []stmt
		recursive bool
	}
	setStmt struct {
		line   int
		target expr
		value  expr
	}
	// captureStmt renders body, filters the text and assigns it (a set block) or,
	// without target, writes it (a filter block).
	captureStmt struct {
		line    int
		target  expr
		body    []stmt
		filters []*filterExpr // innermost first; their operand is nil
	}
	withStmt struct {
		line    int
		targets []expr
		values  []expr
		body    []stmt
	}
	macroStmt struct {
		line int
		*macroDef
	}
	callStmt struct {
		line  int
		call  expr
		block *macroDef
	}
	breakStmt    struct{}
	continueStmt struct{}
)

// macroDef is a macro's signature and body, or those of a call block.
type macroDef struct {
	name     string
	params   []string
	defaults []expr // of the last parameters
	body     []stmt
	// Whether the body speaks of these names, which decides what a call may pass.
	usesVarargs, usesKwargs, usesCaller bool
}

func (*textStmt) stmtNode()    {}
func (*outputStmt) stmtNode()  {}
func (*ifStmt) stmtNode()      {}
func (*forStmt) stmtNode()     {}
func (*setStmt) stmtNode()     {}
func (*captureStmt) stmtNode() {}
func (*withStmt) stmtNode()    {}
func (*macroStmt) stmtNode()   {}
func (*callStmt) stmtNode()    {}
func (breakStmt) stmtNode()    {}
func (continueStmt) stmtNode() {}

// Expressions.
type (
	expr interface{ exprNode() }

	literalExpr struct{ value any }
	nameExpr    struct{ name string }
	// seqExpr is a list or tuple display.
	seqExpr struct {
		items []expr
		tuple bool
	}
	dictExpr struct{ keys, values []expr }
	attrExpr struct {
		object expr
		name   string
	}
	itemExpr struct{ object, index expr }
	// sliceExpr stands as an itemExpr's index; missing parts are nil.
	sliceExpr struct{ start, stop, step expr }
	callExpr  struct {
		fn   expr
		args arguments
	}
	filterExpr struct {
		operand expr
		name    string
		fn      builtin
		args    arguments
	}
	testExpr struct {
		operand expr
		name    string
		fn      builtin
		args    arguments
	}
	notExpr  struct{ operand expr }
	signExpr struct {
		operand expr
		minus   bool
	}
	binaryExpr struct {
		op          string
		left, right expr
	}
	// logicExpr is `and` or `or`: its value is an operand's.
	logicExpr struct {
		or          bool
		left, right expr
	}
	// compareExpr is a chain, a < b < c.
	compareExpr struct {
		first    expr
		ops      []string
		operands []expr
	}
	concatExpr struct{ parts []expr }
	condExpr   struct{ cond, then, orElse expr }
)

// arguments are a call's, as written.
type arguments struct {
	positional []expr
	names      []string
	named      []expr
	star       expr // *args, or nil
	starStar   expr // **kwargs, or nil
}

func (*literalExpr) exprNode() {}
func (*nameExpr) exprNode()    {}
func (*seqExpr) exprNode()     {}
func (*dictExpr) exprNode()    {}
func (*attrExpr) exprNode()    {}
func (*itemExpr) exprNode()    {}
func (*sliceExpr) exprNode()   {}
func (*callExpr) exprNode()    {}
func (*filterExpr) exprNode()  {}
func (*testExpr) exprNode()    {}
func (*notExpr) exprNode()     {}
func (*signExpr) exprNode()    {}
func (*binaryExpr) exprNode()  {}
func (*logicExpr) exprNode()   {}
func (*compareExpr) exprNode() {}
func (*concatExpr) exprNode()  {}
func (*condExpr) exprNode()    {}
