package softfloat

// invalid raises IE and returns the masked response.
func (e *Env) invalid() num {
	e.Flags |= IE
	return indefinite()
}

// denormal raises DE if any operand asks for it and tells whether that ends
// the operation.
func (e *Env) denormal(denorm bool) (stop bool) {
	return denorm && e.raise(DE)
}

// nan1 delivers the result of a one-operand operation on a NaN or an
// unsupported encoding.
func (e *Env) nan1(a num) num {
	if a.class != classQNaN {
		e.Flags |= IE
	}
	return a.quiet()
}

// nan2 delivers the result of an operation on a and b, at least one of which
// is a NaN or unsupported, by the rules of SDM vol. 1, table 4-7.
func (e *Env) nan2(f *format, a, b num) num {
	if a.class > classQNaN || b.class > classQNaN {
		e.Flags |= IE
	}
	if f.x87 {
		return selectX87(a, b)
	}
	if a.isNaN() {
		return a.quiet()
	}
	return b.quiet()
}

// selectX87 chooses between two operands as the x87 unit does: a QNaN beats
// an SNaN, otherwise the larger significand wins, and of equals the positive
// one.
func selectX87(a, b num) num {
	switch {
	case a.class == classUnsupported || b.class == classUnsupported:
		return indefinite()
	case !b.isNaN():
		return a.quiet()
	case !a.isNaN():
		return b.quiet()
	case a.class != b.class:
		if a.class == classQNaN {
			return a
		}
		return b
	case a.mant > b.mant || a.mant == b.mant && !a.neg:
		return a.quiet()
	}
	return b.quiet()
}
