package conformance

// The linear addresses that a case can reach, the same for all executors.
// What is not listed is not mapped.
const (
	pageSize = 4096

	// codeBase is where instructions are: two pages, executable and writable
	// but not written by cases. The page after them is not mapped.
	codeBase = 0x10000000
	codeSize = 2 * pageSize

	// dataBase is where operands are: two pages that can be written and one
	// that cannot, none executable. The pages before and after are not mapped.
	dataBase = 0x10010000
	dataSize = 2 * pageSize // that can be written
	dataAll  = 3 * pageSize
	// highBase is a second address of the same pages, above 4 GiB.
	highBase = 0x234567890000
)

// filler is the byte around instructions: HLT, which raises #GP(0) at CPL 3.
const filler = 0xf4

// Selectors of the descriptors that a case can use: those of Linux.
const (
	selCode32 = 0x23
	selData   = 0x2b
	selCode64 = 0x33
	gdtLimit  = 16*8 - 1
)
