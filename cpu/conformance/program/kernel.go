package program

import "dfemu/cpu/x86"

// The handlers. Every event pushes its vector and error code, writes an entry of
// the log, and then is skipped (execution goes on where the program has said), mended, or served.
//
// An entry of the log: vector and error code, RIP, CS and CPL, flags that are defined, RSP, CR2.

// pushesCode has a bit for each exception with an error code.
const pushesCode = 1<<x86.VecDF | 1<<x86.VecTS | 1<<x86.VecNP | 1<<x86.VecSS | 1<<x86.VecGP | 1<<x86.VecPF | 1<<x86.VecAC

// Offsets from RSP once the handler has saved five registers.
const (
	savedRegs = 5 * 8
	frVector  = savedRegs
	frCode    = savedRegs + 8
	frRIP     = savedRegs + 16
	frCS      = savedRegs + 24
	frFlags   = savedRegs + 32
	frRSP     = savedRegs + 40
)

// kernel is the assembled handlers.
type kernel struct {
	code    []byte
	entries [256]uint64 // linear addresses by vector, or 0
	syscall uint64
}

// makeKernel assembles the handlers.
func makeKernel(rows map[x86.Op][]*x86.Enc) (*kernel, error) {
	a := newAsm(kernelBase+physKernel, rows)
	k := &kernel{}
	common := a.newLabel()
	for vec := range 256 {
		if vec >= 32 && (vec < vecNothing || vec > vecExternal) {
			continue
		}
		k.entries[vec] = a.pc()
		if vec == vecEnd {
			a.bytes(0xe6, portEnd) // OUT portEnd, AL
			a.bytes(0xeb, 0xfe)    // JMP to itself
			continue
		}
		if vec >= 32 || pushesCode>>vec&1 == 0 {
			a.bytes(0x6a, 0) // PUSH 0
		}
		a.op(x86.PUSH, 8, i(int64(vec)))
		a.branch(x86.JMP, common)
	}
	a.place(common)
	for _, n := range [...]int{x86.RAX, x86.RCX, x86.RDX, x86.RBX, x86.RBP} {
		a.op(x86.PUSH, 8, r(n))
	}
	a.op(x86.MOV, 8, r(x86.RBX), i(ctrl))
	k.log(a)
	k.dispatch(a)
	k.syscall = a.pc()
	k.systemCall(a)
	var err error
	k.code, err = a.finish()
	return k, err
}

// ctrl is the control page for the handlers, log the log.
const (
	ctrl = int64(-1<<63>>16 + physCtrl)
	logs = int64(-1<<63>>16 + physLog)
)

// log counts the event and appends it to the log. RBX is ctrl.
func (k *kernel) log(a *asm) {
	a.op(x86.MOV, 8, r(x86.RAX), at(x86.RBX, ctrlEvents))
	a.op(x86.INC, 8, at(x86.RBX, ctrlEvents))
	a.op(x86.AND, 4, r(x86.RAX), i(logEntries-1))
	a.op(x86.SHL, 4, r(x86.RAX), i(6))
	a.op(x86.MOV, 8, r(x86.RBP), i(logs))
	a.op(x86.ADD, 8, r(x86.RBP), r(x86.RAX))
	a.op(x86.MOV, 8, r(x86.RAX), at(x86.RSP, frVector))
	a.op(x86.MOV, 4, at(x86.RBP, 0), r(x86.RAX))
	for n, off := range [...]int64{frCode, frRIP, frCS, frRSP} {
		a.op(x86.MOV, 8, r(x86.RDX), at(x86.RSP, off))
		a.op(x86.MOV, 8, at(x86.RBP, 8+8*int64(n)), r(x86.RDX))
	}
	// The arithmetic flags may be undefined, but not in a software interrupt.
	a.op(x86.MOV, 8, r(x86.RDX), at(x86.RSP, frFlags))
	a.op(x86.CMP, 4, r(x86.RAX), i(vecNothing))
	keep := a.newLabel()
	a.branch(x86.JE, keep)
	a.op(x86.AND, 4, r(x86.RDX), i(^x86.ArithFlags))
	a.place(keep)
	a.op(x86.MOV, 8, at(x86.RBP, 48), r(x86.RDX))
	a.op(x86.MOVCR, 8, r(x86.RCX), operand{Arg: ctl(2)})
	a.op(x86.MOV, 8, at(x86.RBP, 40), r(x86.RCX))
}

// dispatch serves the event: RAX is the vector, RBX ctrl, RCX CR2.
func (k *kernel) dispatch(a *asm) {
	skip, leave := a.newLabel(), a.newLabel()
	// A program that has come here too often ends.
	a.op(x86.CMP, 4, at(x86.RBX, ctrlEvents), i(maxEvents))
	on := a.newLabel()
	a.branch(x86.JB, on)
	a.bytes(0xe6, portEnd, 0xeb, 0xfe)
	a.place(on)
	next := func(vec int64) label {
		l := a.newLabel()
		a.op(x86.CMP, 4, r(x86.RAX), i(vec))
		a.branch(x86.JNE, l)
		return l
	}

	l := next(x86.VecPF)
	k.pageFault(a, skip, leave)
	a.place(l)

	l = next(x86.VecDB) // stop after some steps
	a.op(x86.INC, 8, at(x86.RBX, ctrlSteps))
	a.op(x86.MOV, 8, r(x86.RDX), at(x86.RBX, ctrlSteps))
	a.op(x86.CMP, 4, r(x86.RDX), i(stepsAtOnce))
	a.branch(x86.JB, leave)
	a.op(x86.MOV, 8, at(x86.RBX, ctrlSteps), i(0))
	a.op(x86.AND, 8, at(x86.RSP, frFlags), i(^x86.TF))
	a.branch(x86.JMP, leave)
	a.place(l)

	for _, vec := range [...]int64{x86.VecBP, vecNothing, vecExternal} {
		l = next(vec)
		a.branch(x86.JMP, leave)
		a.place(l)
	}

	l = next(vecWritePTE)
	a.op(x86.MOV, 8, at(x86.RDI, 0), r(x86.RSI))
	a.op(x86.MOV, 8, r(x86.RDX), at(x86.RSP, 2*8)) // as it was
	a.op(x86.INVLPG, 0, at(x86.RDX, 0))
	a.branch(x86.JMP, leave)
	a.place(l)

	reload := func() {
		a.op(x86.MOVCR, 8, r(x86.RCX), operand{Arg: ctl(3)})
		a.op(x86.MOVCR, 8, operand{Arg: ctl(3)}, r(x86.RCX))
	}
	l = next(vecReloadCR3)
	a.op(x86.MOV, 8, at(x86.RDI, 0), r(x86.RSI))
	reload()
	a.branch(x86.JMP, leave)
	a.place(l)

	l = next(vecSwapPTE)
	a.op(x86.MOV, 8, r(x86.RCX), at(x86.RDI, 0))
	a.op(x86.XCHG, 8, at(x86.RSI, 0), r(x86.RCX))
	a.op(x86.MOV, 8, at(x86.RDI, 0), r(x86.RCX))
	reload()
	a.branch(x86.JMP, leave)
	a.place(l)

	l = next(vecGlobal)
	a.op(x86.MOVCR, 8, r(x86.RCX), operand{Arg: ctl(4)})
	a.op(x86.XOR, 4, r(x86.RCX), i(x86.CR4_PGE))
	a.op(x86.MOVCR, 8, operand{Arg: ctl(4)}, r(x86.RCX))
	a.op(x86.XOR, 4, r(x86.RCX), i(x86.CR4_PGE))
	a.op(x86.MOVCR, 8, operand{Arg: ctl(4)}, r(x86.RCX))
	a.branch(x86.JMP, leave)
	a.place(l)

	// All others: go on where the program has said, without TF and AC.
	a.place(skip)
	a.op(x86.MOV, 8, r(x86.RDX), at(x86.RBX, ctrlResume))
	a.op(x86.MOV, 8, at(x86.RSP, frRIP), r(x86.RDX))
	a.op(x86.MOV, 8, r(x86.RDX), at(x86.RBX, ctrlStack))
	a.op(x86.MOV, 8, at(x86.RSP, frRSP), r(x86.RDX))
	a.op(x86.AND, 8, at(x86.RSP, frFlags), i(^(x86.TF | x86.AC)))
	a.place(leave)
	for _, n := range [...]int{x86.RBP, x86.RBX, x86.RDX, x86.RCX, x86.RAX} {
		a.op(x86.POP, 8, r(n))
	}
	a.op(x86.LEA, 8, r(x86.RSP), at(x86.RSP, 16))
	a.bytes(0x48, 0xcf) // IRETQ
}

// pageFault makes a data page present and writable again and repeats the
// instruction, unless something else is wrong. RCX is CR2.
func (k *kernel) pageFault(a *asm, skip, leave label) {
	a.op(x86.MOV, 4, r(x86.RDX), at(x86.RSP, frCode))
	a.op(x86.TEST, 4, r(x86.RDX), i(x86.PFI))
	a.branch(x86.JNE, skip)
	a.op(x86.CMP, 4, at(x86.RBX, ctrlHeals), i(maxHeals))
	a.branch(x86.JAE, skip)
	a.op(x86.MOV, 8, r(x86.RDX), r(x86.RCX))
	a.op(x86.SUB, 8, r(x86.RDX), i(dataBase))
	a.op(x86.CMP, 8, r(x86.RDX), i(dataPages*pageSize))
	a.branch(x86.JAE, skip)
	a.op(x86.SHR, 8, r(x86.RDX), i(12))
	a.op(x86.MOV, 8, r(x86.RBP), at(x86.RBX, ctrlTables)) // of the page-table entries
	a.op(x86.LEA, 8, r(x86.RBP), indexed(x86.RBP, x86.RDX, 3, 0))
	a.op(x86.OR, 8, at(x86.RBP, 0), i(pteP|pteW))
	a.op(x86.INVLPG, 0, at(x86.RCX, 0))
	a.op(x86.INC, 8, at(x86.RBX, ctrlHeals))
	a.branch(x86.JMP, leave)
}

// systemCall counts the call and returns. It uses no stack.
func (k *kernel) systemCall(a *asm) {
	a.op(x86.MOV, 8, r(x86.RBP), i(ctrl))
	a.op(x86.MOV, 8, at(x86.RBP, ctrlCall), r(x86.RCX))
	a.op(x86.INC, 8, at(x86.RBP, ctrlCall+8))
	a.op(x86.ADD, 8, r(x86.RAX), r(x86.RDX))
	a.bytes(0x48, 0x0f, 0x07) // SYSRET to 64-bit mode
}
