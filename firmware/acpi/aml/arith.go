package aml

// The operators below evaluate their operands and put the result into dst,
// which may be [Nothing] (section 20.2.5.4).

// Store copies src into dst.
func Store(src, dst Term) Term { return seq([]byte{0x70}, src, dst) }

// CopyObject copies src, type and all, into dst.
func CopyObject(src, dst Term) Term { return seq([]byte{0x9d}, src, dst) }

// Add is a + b.
func Add(a, b, dst Term) Term { return seq([]byte{0x72}, a, b, dst) }

// Subtract is a - b.
func Subtract(a, b, dst Term) Term { return seq([]byte{0x74}, a, b, dst) }

// Multiply is a * b.
func Multiply(a, b, dst Term) Term { return seq([]byte{0x77}, a, b, dst) }

// Divide puts the remainder of a / b into rem and the quotient into dst.
func Divide(a, b, rem, dst Term) Term { return seq([]byte{0x78}, a, b, rem, dst) }

// Mod is the remainder of a / b.
func Mod(a, b, dst Term) Term { return seq([]byte{0x85}, a, b, dst) }

// ShiftLeft is a << n.
func ShiftLeft(a, n, dst Term) Term { return seq([]byte{0x79}, a, n, dst) }

// ShiftRight is a >> n.
func ShiftRight(a, n, dst Term) Term { return seq([]byte{0x7a}, a, n, dst) }

// And is a & b.
func And(a, b, dst Term) Term { return seq([]byte{0x7b}, a, b, dst) }

// Nand is the complement of a & b.
func Nand(a, b, dst Term) Term { return seq([]byte{0x7c}, a, b, dst) }

// Or is a | b.
func Or(a, b, dst Term) Term { return seq([]byte{0x7d}, a, b, dst) }

// Nor is the complement of a | b.
func Nor(a, b, dst Term) Term { return seq([]byte{0x7e}, a, b, dst) }

// Xor is a ^ b.
func Xor(a, b, dst Term) Term { return seq([]byte{0x7f}, a, b, dst) }

// Not is the complement of a.
func Not(a, dst Term) Term { return seq([]byte{0x80}, a, dst) }

// FindSetLeftBit is one more than the number of the highest bit set, or zero.
func FindSetLeftBit(a, dst Term) Term { return seq([]byte{0x81}, a, dst) }

// FindSetRightBit is one more than the number of the lowest bit set, or zero.
func FindSetRightBit(a, dst Term) Term { return seq([]byte{0x82}, a, dst) }

// Increment adds one to x.
func Increment(x Term) Term { return seq([]byte{0x75}, x) }

// Decrement takes one from x.
func Decrement(x Term) Term { return seq([]byte{0x76}, x) }

// LAnd is true when both are not zero.
func LAnd(a, b Term) Term { return seq([]byte{0x90}, a, b) }

// LOr is true when one is not zero.
func LOr(a, b Term) Term { return seq([]byte{0x91}, a, b) }

// LNot is true when a is zero.
func LNot(a Term) Term { return seq([]byte{0x92}, a) }

// LEqual is a == b.
func LEqual(a, b Term) Term { return seq([]byte{0x93}, a, b) }

// LNotEqual is a != b.
func LNotEqual(a, b Term) Term { return seq([]byte{0x92, 0x93}, a, b) }

// LGreater is a > b.
func LGreater(a, b Term) Term { return seq([]byte{0x94}, a, b) }

// LLess is a < b.
func LLess(a, b Term) Term { return seq([]byte{0x95}, a, b) }

// LLessEqual is a <= b.
func LLessEqual(a, b Term) Term { return seq([]byte{0x92, 0x94}, a, b) }

// LGreaterEqual is a >= b.
func LGreaterEqual(a, b Term) Term { return seq([]byte{0x92, 0x95}, a, b) }

// Concatenate joins a and b.
func Concatenate(a, b, dst Term) Term { return seq([]byte{0x73}, a, b, dst) }

// ConcatenateResTemplate joins two resource templates.
func ConcatenateResTemplate(a, b, dst Term) Term { return seq([]byte{0x84}, a, b, dst) }

// ToBuffer converts to a buffer.
func ToBuffer(a, dst Term) Term { return seq([]byte{0x96}, a, dst) }

// ToInteger converts to an integer.
func ToInteger(a, dst Term) Term { return seq([]byte{0x99}, a, dst) }

// SizeOf is the size of a buffer, string or package.
func SizeOf(x Term) Term { return seq([]byte{0x87}, x) }

// Index refers to element i of a buffer, string or package.
func Index(x, i, dst Term) Term { return seq([]byte{0x88}, x, i, dst) }

// RefOf refers to an object.
func RefOf(x Term) Term { return seq([]byte{0x71}, x) }

// DerefOf is what a reference refers to.
func DerefOf(x Term) Term { return seq([]byte{0x83}, x) }

// CondRefOf puts a reference to x into dst, and is true when x exists.
func CondRefOf(x, dst Term) Term { return seq([]byte{0x5b, 0x12}, x, dst) }
