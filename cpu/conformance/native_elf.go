//go:build linux && amd64

package conformance

import "encoding/binary"

// Where things are in the stub's process, besides what layout.go says. All
// addresses are far from those that cases use.
const (
	stubBase    = 0x500000000000
	stubText    = 0x1000 // offset of the code in file and memory
	stubHandler = 0x80   // offsets in the code
	stubSignals = 0x1fb
	stubStack   = 0x208
	stubAction  = 0x220
	stubMaps    = 0x240

	sharedBase   = 0x600000000000
	altStackBase = 0x610000000000
	altStackSize = 0x40000
)

// The file that the stub and its parent share: the cases and results, then the
// pages that cases see.
const (
	sharedHeader = 0        // the present case, how many are left, the last one's code
	sharedCases  = 0x1000   // the cases
	sharedResult = 0x200000 // from a case to its result
	sharedStride = 9472     // from a case to the next
	sharedSize   = 0x400000 // of all this
	fileCode     = sharedSize
	fileData     = fileCode + codeSize
	fileSize     = fileData + dataAll
)

// File descriptors of the stub: commands, answers, the shared file.
const stubShared = 5

// stubImage returns the stub as an executable file.
func stubImage() []byte {
	le := binary.LittleEndian
	text := make([]byte, stubMaps, 1024)
	copy(text, stub[:])
	copy(text[stubSignals:], []byte{4, 5, 7, 8, 11}) // ILL, TRAP, BUS, FPE, SEGV
	le.PutUint64(text[stubStack:], altStackBase)
	le.PutUint64(text[stubStack+16:], altStackSize)
	const siginfo, onStack, noDefer, restorer = 4, 0x08000000, 0x40000000, 0x04000000
	le.PutUint64(text[stubAction:], stubBase+stubText+stubHandler)
	le.PutUint64(text[stubAction+8:], siginfo|onStack|noDefer|restorer)

	const r, w, x = 1, 2, 4
	const shared, private, fixed, anonymous, populate = 1, 2, 0x10, 0x20, 0x8000
	const file = shared | fixed | populate
	for _, m := range [...][6]uint64{
		{sharedBase, sharedSize, r | w, file, stubShared, 0},
		{codeBase, codeSize, r | w | x, file, stubShared, fileCode},
		{dataBase, dataSize, r | w, file, stubShared, fileData},
		{dataBase + dataSize, pageSize, r, file, stubShared, fileData + dataSize},
		{highBase, dataSize, r | w, file, stubShared, fileData},
		{highBase + dataSize, pageSize, r, file, stubShared, fileData + dataSize},
		{altStackBase, altStackSize, r | w, private | fixed | anonymous | populate, ^uint64(0), 0},
		{},
	} {
		for _, v := range m {
			text = le.AppendUint64(text, v)
		}
	}

	// ELF header and one program header (System V ABI, chapters 4 and 5).
	b := make([]byte, stubText, stubText+len(text))
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 2)    // ET_EXEC
	le.PutUint16(b[18:], 0x3e) // EM_X86_64
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], stubBase+stubText)
	le.PutUint64(b[32:], 64) // program headers
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	ph := b[64:]
	le.PutUint32(ph, 1) // PT_LOAD
	le.PutUint32(ph[4:], 5)
	le.PutUint64(ph[16:], stubBase)
	le.PutUint64(ph[24:], stubBase)
	size := uint64(stubText + len(text))
	le.PutUint64(ph[32:], size)
	le.PutUint64(ph[40:], size)
	le.PutUint64(ph[48:], pageSize)
	return append(b, text...)
}
