package x86

import (
	"strconv"
	"strings"
)

// regNames are the general-purpose registers by size (1, 2, 4, 8) and number.
var regNames = [4][16]string{
	{"al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil", "r8b", "r9b", "r10b", "r11b", "r12b", "r13b", "r14b", "r15b"},
	{"ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "r8w", "r9w", "r10w", "r11w", "r12w", "r13w", "r14w", "r15w"},
	{"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "r8d", "r9d", "r10d", "r11d", "r12d", "r13d", "r14d", "r15d"},
	{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"},
}

var (
	highNames = [4]string{"ah", "ch", "dh", "bh"}
	segNames  = [6]string{"es", "cs", "ss", "ds", "fs", "gs"}
)

// sizeName names the size of a memory operand.
func sizeName(size uint8) string {
	switch size {
	case 1:
		return "byte ptr "
	case 2:
		return "word ptr "
	case 4:
		return "dword ptr "
	case 6:
		return "fword ptr "
	case 8:
		return "qword ptr "
	case 10:
		return "tbyte ptr "
	case 16:
		return "xmmword ptr "
	case 32:
		return "ymmword ptr "
	}
	return ""
}

// regName returns the name of a general-purpose register.
func regName(reg uint16, size uint8) string {
	i := 3
	switch size {
	case 1:
		i = 0
	case 2:
		i = 1
	case 4:
		i = 2
	}
	return regNames[i][reg&15]
}

// Mnemonic returns the instruction's mnemonic as assemblers write it, in
// lower case, with the suffix that gives the size of string instructions and
// the like, but without prefixes.
func (in *Inst) Mnemonic() string {
	switch in.Op { // that Op tells apart and assemblers do not
	case MOVSEG, MOVCR, MOVDR:
		return "mov"
	case PUSHSEG:
		return "push"
	case POPSEG:
		return "pop"
	case CALLFAR:
		return "call far"
	case JMPFAR:
		return "jmp far"
	case RETFAR:
		return "retf"
	}
	n := strings.ToLower(in.Op.String())
	switch in.Op {
	case MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS:
		switch in.OpSize {
		case 1:
			return n + "b"
		case 2:
			return n + "w"
		case 4:
			return n + "d"
		}
		return n + "q"
	case IRET, PUSHF, POPF, PUSHA, POPA:
		switch in.OpSize {
		case 4:
			return n + "d"
		case 8:
			return n + "q"
		}
	case FXSAVE, FXRSTOR, XSAVE, XSAVEC, XSAVEOPT, XRSTOR, SYSRET, SYSEXIT:
		if in.OpSize == 8 {
			return n + "64"
		}
	}
	return n
}

// String returns the instruction in Intel syntax. Branch displacements are
// relative to the instruction itself: ".+0x10".
func (in *Inst) String() string {
	var b strings.Builder
	switch {
	case in.Lock:
		b.WriteString("lock ")
	case in.Rep && in.Enc != nil && in.Enc.Attr&RepZ != 0:
		b.WriteString("repe ")
	case in.Repne && in.Enc != nil && in.Enc.Attr&RepZ != 0:
		b.WriteString("repne ")
	case in.Rep, in.Repne:
		b.WriteString("rep ")
	}
	b.WriteString(in.Mnemonic())
	for i := range min(int(in.NArgs), len(in.Args)) {
		if i == 0 {
			b.WriteByte(' ')
		} else {
			b.WriteString(", ")
		}
		in.writeArg(&b, &in.Args[i])
	}
	return b.String()
}

// writeArg writes one operand.
func (in *Inst) writeArg(b *strings.Builder, a *Arg) {
	num := strconv.Itoa(int(a.Reg))
	switch a.Kind {
	case KindReg:
		if a.High {
			b.WriteString(highNames[a.Reg&3])
		} else {
			b.WriteString(regName(a.Reg, a.Size))
		}
	case KindMem:
		b.WriteString(sizeName(a.Size))
		in.writeMem(b)
	case KindImm:
		b.WriteString(in.immediateText(a))
	case KindRel:
		b.WriteByte('.')
		writeDisp(b, a.Imm+int64(in.Len), true)
	case KindFar:
		b.WriteString(hexText(uint64(a.Reg)) + ":" + hexText(uint64(a.Imm)))
	case KindSeg:
		b.WriteString(segNames[a.Reg%6])
	case KindCR:
		b.WriteString("cr" + num)
	case KindDR:
		b.WriteString("dr" + num)
	case KindX87:
		b.WriteString("st(" + num + ")")
	case KindMMX:
		b.WriteString("mm" + num)
	case KindVec:
		if a.Size == 32 {
			b.WriteString("ymm" + num)
		} else {
			b.WriteString("xmm" + num)
		}
	}
}

// immediateText returns an immediate, truncated to the operand size.
func (in *Inst) immediateText(a *Arg) string {
	v := uint64(a.Imm)
	if in.Enc != nil && in.Enc.Args[1] == One {
		return "1"
	}
	if a.Imm < 0 {
		switch in.OpSize {
		case 1:
			v = uint64(uint8(v))
		case 2:
			v = uint64(uint16(v))
		case 4:
			v = uint64(uint32(v))
		}
	}
	return hexText(v)
}

// writeMem writes the memory operand, with its segment where that is not DS,
// or SS for the stack and frame pointers.
func (in *Inst) writeMem(b *strings.Builder) {
	m := &in.Mem
	stack := m.Base == RSP || m.Base == RBP
	if m.Seg != DS && !(m.Seg == SS && stack) || m.Seg == DS && stack {
		b.WriteString(segNames[m.Seg%6] + ":")
	}
	b.WriteByte('[')
	sep := false
	switch m.Base {
	case NoReg:
	case RIPBase:
		if in.AddrSize == 8 {
			b.WriteString("rip")
		} else {
			b.WriteString("eip")
		}
		sep = true
	default:
		b.WriteString(regName(uint16(m.Base), in.AddrSize))
		sep = true
	}
	if m.Index != NoReg {
		if sep {
			b.WriteByte('+')
		}
		if m.VSIB {
			b.WriteString(in.vsibName() + strconv.Itoa(int(m.Index)))
		} else {
			b.WriteString(regName(uint16(m.Index), in.AddrSize))
		}
		if in.AddrSize != 2 {
			b.WriteString("*" + strconv.Itoa(1<<(m.Scale&3)))
		}
		sep = true
	}
	if !sep {
		d := uint64(m.Disp)
		if in.AddrSize == 2 {
			d = uint64(uint16(d))
		} else if in.AddrSize == 4 {
			d = uint64(uint32(d))
		}
		b.WriteString(hexText(d))
	} else {
		writeDisp(b, m.Disp, false)
	}
	b.WriteByte(']')
}

// vsibName returns the kind of register that a gather's index is.
func (in *Inst) vsibName() string {
	switch in.Op {
	case VGATHERDPD, VPGATHERDQ: // four byte indices, eight byte elements
		return "xmm"
	}
	if in.VecLen == 32 {
		return "ymm"
	}
	return "xmm"
}

// writeDisp writes a displacement with its sign, and zero only if asked to.
func writeDisp(b *strings.Builder, d int64, zero bool) {
	switch {
	case d < 0:
		b.WriteString("-" + hexText(-uint64(d)))
	case d > 0 || zero:
		b.WriteString("+" + hexText(uint64(d)))
	}
}

func hexText(v uint64) string { return "0x" + strconv.FormatUint(v, 16) }
