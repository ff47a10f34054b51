package interp

import (
	"syscall"
	"testing"
	"unsafe"

	"dfemu/cpu/x86"
)

// native executes single instructions on the host's processor.
type native struct {
	code []byte // executable memory
	s    *nativeState
}

// nativeState is what an instruction finds and leaves in registers.
type nativeState struct {
	vec   [16][4]uint64
	gpr   [16]uint64 // RSP, RBP and R14 are not loaded
	flags uint64
	mm    [8]uint64
	env   [28]byte // x87 environment afterwards, as FNSTENV stores it
}

const nativeCodeSize = 4096

// newNative skips the test where the host has no AVX.
func newNative(t *testing.T) *native {
	code, err := syscall.Mmap(-1, 0, nativeCodeSize, syscall.PROT_READ|syscall.PROT_WRITE|syscall.PROT_EXEC,
		syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Skipf("no executable memory: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(code) })
	n := &native{code: code, s: new(nativeState)}
	if !n.has(x86.FeatAVX) {
		t.Skip("the host's processor has no AVX")
	}
	n.s.gpr[x86.RCX] = 0
	n.run(false, 0x0f, 0x01, 0xd0) // XGETBV
	if n.s.gpr[x86.RAX]&7 != 7 {
		t.Skip("the host's system does not provide AVX")
	}
	return n
}

// has reports whether the host's CPUID announces f.
func (n *native) has(f x86.Feature) bool {
	if f == x86.FeatNone {
		return true
	}
	b := f.Bit()
	n.s.gpr[x86.RAX], n.s.gpr[x86.RCX] = uint64(b.Leaf&0x80000000), 0
	n.run(false, 0x0f, 0xa2)
	if uint32(n.s.gpr[x86.RAX]) < b.Leaf {
		return false
	}
	n.s.gpr[x86.RAX], n.s.gpr[x86.RCX] = uint64(b.Leaf), uint64(b.Subleaf)
	n.run(false, 0x0f, 0xa2)
	regs := [...]int{x86.EAX: x86.RAX, x86.EBX: x86.RBX, x86.ECX: x86.RCX, x86.EDX: x86.RDX}
	return n.s.gpr[regs[b.Reg]]>>b.Bit&1 != 0
}

// run loads the registers from n.s, executes code and stores them again. With vec, vector and
// MMX registers too.
//
// Invariant: called as a Go function with its argument in RAX (ABIInternal),
// the code keeps RSP, RBP, R14 and a zero X15, uses a few words of stack, and
// never calls. The instruction under test touches memory only where its operands say.
func (n *native) run(vec bool, code ...byte) {
	b := n.code[:0]
	emit := func(p ...byte) { b = append(b, p...) }
	emit32 := func(v uintptr) { emit(byte(v), byte(v>>8), byte(v>>16), byte(v>>24)) }
	s := n.s
	vecs := func(op byte) {
		for i := range byte(16) {
			emit(0xc4, (1-i>>3)<<7|0x41, 0x7c, op, 0x86|i&7<<3) // VMOVUPS YMMi, [R14+disp32]
			emit32(unsafe.Offsetof(s.vec) + uintptr(i)*32)
		}
	}
	mms := func(op byte) {
		for i := range byte(8) {
			emit(0x41, 0x0f, op, 0x86|i<<3) // MOVQ MMi, [R14+disp32]
			emit32(unsafe.Offsetof(s.mm) + uintptr(i)*8)
		}
	}
	gprs := func(op byte) {
		for i := range byte(16) {
			if i == x86.RSP || i == x86.RBP || i == x86.R14 {
				continue
			}
			emit(0x49|i>>3<<2, op, 0x86|i&7<<3) // MOV r, [R14+disp32]
			emit32(unsafe.Offsetof(s.gpr) + uintptr(i)*8)
		}
	}
	emit(0x41, 0x56, 0x55, 0x49, 0x89, 0xc6) // PUSH R14; PUSH RBP; MOV R14, RAX
	if vec {
		mms(0x6f)
		emit(0x0f, 0x77) // EMMS
		vecs(0x10)
	}
	emit(0x41, 0xff, 0xb6) // PUSH [R14+disp32]
	emit32(unsafe.Offsetof(s.flags))
	emit(0x9d) // POPFQ
	gprs(0x8b)
	emit(code...)
	gprs(0x89)
	emit(0x9c, 0x41, 0x8f, 0x86) // PUSHFQ; POP [R14+disp32]
	emit32(unsafe.Offsetof(s.flags))
	if vec {
		vecs(0x11)
		emit(0x41, 0xd9, 0xb6) // FNSTENV [R14+disp32]
		emit32(unsafe.Offsetof(s.env))
		mms(0x7f)
		emit(0xdb, 0xe3)                   // FNINIT
		emit(0xc5, 0xf8, 0x77)             // VZEROUPPER
		emit(0xc4, 0x41, 0x00, 0x57, 0xff) // VXORPS XMM15, XMM15, XMM15
	}
	emit(0x5d, 0x41, 0x5e, 0xc3) // POP RBP; POP R14; RET
	entry := unsafe.Pointer(&n.code[0])
	holder := &entry
	(*(*func(*nativeState))(unsafe.Pointer(&holder)))(s)
}

// addressOf returns where p, which is not on the Go heap, is.
func addressOf(p []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&p[0]))) }
