package conformance

import "dfemu/cpu/x86"

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
