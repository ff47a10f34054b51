package conformance

import (
	"dfemu/cpu/x86"
)

// excluded are the instructions that are not run, and why.
var excluded = map[x86.Op]string{
	x86.CPUID:    "describes the processor: it is not meant to agree",
	x86.XGETBV:   "XCR0 is the operating system's choice",
	x86.RDTSC:    "the time is not the same",
	x86.RDTSCP:   "the time is not the same",
	x86.RDPID:    "tells the processor the host happens to run on",
	x86.RDRAND:   "random",
	x86.RDSEED:   "random",
	x86.SYSCALL:  "enters the host's kernel",
	x86.SYSENTER: "enters the host's kernel; AMD raises #UD in long mode",
	x86.SYSEXIT:  "AMD raises #UD in long mode, Intel #GP",
	x86.VMCALL:   "a hypercall to the host's hypervisor",
	x86.VMMCALL:  "a hypercall to the host's hypervisor",
	x86.SGDT:     "Linux emulates it where UMIP forbids it",
	x86.SIDT:     "Linux emulates it where UMIP forbids it",
	x86.SLDT:     "Linux emulates it where UMIP forbids it",
	x86.STR:      "Linux emulates it where UMIP forbids it",
	x86.SMSW:     "Linux emulates it where UMIP forbids it",
	x86.MONITOR:  "waits for an interrupt of the host where it is allowed",
	x86.MWAIT:    "waits for an interrupt of the host where it is allowed",
}

// excludedForm says why a form is not run, although its row is; otherwise it returns "".
func excludedForm(f *Form) string {
	switch f.Enc.Op {
	case x86.JMPFAR, x86.CALLFAR, x86.LFS, x86.LGS, x86.LSS:
		if f.OpSize == 8 {
			return "AMD has no far pointers with an offset of 64 bits"
		}
	case x86.VPINSRD, x86.VPEXTRD:
		if f.Mode != x86.Mode64 && f.Enc.W == x86.W1 {
			return "VPINSRD and VPEXTRD with VEX.W outside 64-bit mode: #UD on AMD, ignored on Intel"
		}
	case x86.NOP:
		if f.Enc.Map == x86.Map0F && f.Enc.Code == 0x0d && !f.mem() {
			return "AMD raises #UD for PREFETCH with a register, Intel does nothing"
		}
	}
	return ""
}
