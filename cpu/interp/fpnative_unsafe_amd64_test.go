package interp

import (
	"syscall"
	"testing"
	"unsafe"

	"dfemu/cpu/x86"
)

// fpNative executes single floating-point instructions on the host's processor.
type fpNative struct {
	*native
	f *fpNativeState
}

// fpNativeState is what an instruction finds and leaves. It lies at an address
// that is a multiple of 16.
type fpNativeState struct {
	fx    [512]byte // as FXSAVE64 stores it
	high  [16][2]uint64
	gpr   [16]uint64 // RSP, RBP and R14 are not loaded
	flags uint64
}

func newFPNative(t *testing.T) *fpNative {
	n := newNative(t)
	mem, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(mem) })
	return &fpNative{n, (*fpNativeState)(unsafe.Pointer(&mem[0]))}
}

// run loads all registers, executes code and stores them.
//
// Invariant: as for native.run. Exceptions that MXCSR does not mask must not
// come up; those of the x87 may, since nothing waits for them.
func (n *fpNative) run(code ...byte) {
	b := n.code[:0]
	emit := func(p ...byte) { b = append(b, p...) }
	emit32 := func(v uintptr) { emit(byte(v), byte(v>>8), byte(v>>16), byte(v>>24)) }
	s := n.f
	fx := func(digit byte) {
		emit(0x49, 0x0f, 0xae, 0x86|digit<<3) // FXSAVE64 or FXRSTOR64 [R14+disp32]
		emit32(unsafe.Offsetof(s.fx))
	}
	high := func(op byte) {
		for i := range byte(16) {
			r := (1 - i>>3) << 7
			v := byte(0x7d) // VEXTRACTF128 [R14+disp32], YMMi, 1
			if op == 0x18 {
				v = ^i&15<<3 | 5 // VINSERTF128 YMMi, YMMi, [R14+disp32], 1
			}
			emit(0xc4, r|0x43, v, op, 0x86|i&7<<3)
			emit32(unsafe.Offsetof(s.high) + uintptr(i)*16)
			emit(1)
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
	fx(1)
	high(0x18)
	emit(0x41, 0xff, 0xb6) // PUSH [R14+disp32]
	emit32(unsafe.Offsetof(s.flags))
	emit(0x9d) // POPFQ
	gprs(0x8b)
	emit(code...)
	gprs(0x89)
	emit(0x9c, 0x41, 0x8f, 0x86) // PUSHFQ; POP [R14+disp32]
	emit32(unsafe.Offsetof(s.flags))
	high(0x19)
	fx(0)
	emit(0xdb, 0xe3)                                           // FNINIT
	emit(0x68, 0x80, 0x1f, 0, 0, 0x0f, 0xae, 0x14, 0x24)       // PUSH 0x1f80; LDMXCSR [RSP]
	emit(0x58, 0xc5, 0xf8, 0x77)                               // POP RAX; VZEROUPPER
	emit(0xc4, 0x41, 0x00, 0x57, 0xff, 0x5d, 0x41, 0x5e, 0xc3) // VXORPS XMM15, XMM15, XMM15; POP RBP; POP R14; RET
	entry := unsafe.Pointer(&n.code[0])
	holder := &entry
	(*(*func(*fpNativeState))(unsafe.Pointer(&holder)))(s)
}
