//go:build unix

package cputest

import (
	"strings"
	"testing"

	"dfemu/cpu"
)

// Mode is the mode in which a guest begins.
type Mode uint8

// The modes.
const (
	Real Mode = iota
	Protected
	Long
)

// guest is a program and what must come of it.
type guest struct {
	name    string
	mode    Mode
	code    string
	ap      string // what a second processor starts with; it has one CPU without
	handler string
	vectors []uint8 // of the handler
	// want is what the bus and the platform see, without the last access,
	// which is to the port that ends the run.
	want   string
	reason cpu.Reason
}

// Run runs every guest on accelerators from mk and compares what comes of them.
// skip has the reasons not to run some, by name.
func Run(t *testing.T, mk Make, skip map[string]string) {
	for i := range guests {
		g := &guests[i]
		t.Run(g.name, func(t *testing.T) {
			if why := skip[g.name]; why != "" {
				t.Skip(why)
			}
			cpus := 1
			if g.ap != "" {
				cpus = 2
			}
			r := newRig(t, mk, cpus)
			r.tables(g.mode, g.vectors)
			r.load(codeAddr, g.code)
			r.load(handlerAddr, g.handler)
			r.load(apAddr, g.ap)
			r.start(g.mode)
			exit := r.run(cpus)
			if exit.Reason != g.reason {
				t.Errorf("stopped because: %v, want: %v", exit.Reason, g.reason)
			}
			r.mu.Lock()
			got := strings.Join(r.log, "; ")
			r.mu.Unlock()
			if g.reason == cpu.ExitKicked {
				var ok bool
				if i := strings.LastIndex(got, "; out1 f4 "); i >= 0 {
					got, ok = got[:i], true
				}
				if !ok {
					t.Error("did not end by itself")
				}
			}
			if got != g.want {
				t.Errorf("did:\n%s\nwant:\n%s", got, g.want)
			}
			st := r.acc.VCPU(0).Stats()
			if st.Interpreted > 0 {
				t.Logf("%d instructions interpreted", st.Interpreted)
			}
		})
	}
}

// Boot runs code, written in hexadecimal, in 64-bit mode on one processor until
// it writes to port 0xF4, and returns what the bus saw before that. Vector 0x50
// has a handler that counts at 0x30000, writes 0xEE to port 0x10 and ends the
// interrupt in the local APIC, whose address is in RBP. prepare is called
// before the processor runs.
func Boot(t *testing.T, mk Make, code string, prepare func(cpu.Accelerator)) string {
	t.Helper()
	r := newRig(t, mk, 1)
	r.tables(Long, []uint8{vecEdge})
	r.load(codeAddr, code)
	r.load(handlerAddr, msiHandler)
	r.start(Long)
	prepare(r.acc)
	r.run(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.log, "; ")
}

var guests = []guest{
	{
		name: "real mode I/O", mode: Real, code: realIO,
		want: "out1 10 41; out2 10 1234; out4 10 89abcdef; in4 20; in1 3f8; out1 10 b; out4 10 64534232",
	},
	{
		name: "protected mode I/O", mode: Protected, code: protIO,
		want: "out1 10 d4; out2 11 c3d4; out4 12 a1b2c3d4; out1 1f0 d4; out2 1f0 c3d4; out4 1f0 a1b2c3d4; in1 20; " +
			"out4 10 32; in2 21; out4 10 4334; in4 22; out4 10 66554436; in1 3f8; in2 3f8; in4 3f8; " +
			"out4 10 402f1e0f; in1 3f8; in1 3f8; in1 3f8; in1 3f8; in1 3f8; in2 3f8; in2 3f8; in2 3f8; in2 3f8; " +
			"in4 3f8; in4 3f8; in4 3f8; in1 3f8; out1 1f8 10; out1 1f8 11; out1 1f8 12; out1 1f8 13; " +
			"out1 1f8 14; out2 1f8 1e15; out2 1f8 1e16; out2 1f8 1e17; out2 1f8 1e18; out4 1f8 402f1e19; " +
			"out4 1f8 402f1e1a; out4 1f8 402f1e1b; out1 1f8 1c; out1 1f8 13; out1 1f8 12; out1 1f8 11; " +
			"out1 1f8 10; out4 10 2ffff; out4 10 3001a",
	},
	{
		name: "long mode I/O", mode: Long, code: longIO,
		want: "out1 10 d4; out2 11 c3d4; out4 12 a1b2c3d4; out1 1f0 d4; out2 1f0 c3d4; out4 1f0 a1b2c3d4; in1 20; " +
			"out4 10 32; in2 21; out4 10 4334; in4 22; out4 10 66554436; in1 3f8; in2 3f8; in4 3f8; " +
			"out4 10 402f1e0f; in1 3f8; in1 3f8; in1 3f8; in1 3f8; in1 3f8; in2 3f8; in2 3f8; in2 3f8; in2 3f8; " +
			"in4 3f8; in4 3f8; in4 3f8; in1 3f8; out1 1f8 10; out1 1f8 11; out1 1f8 12; out1 1f8 13; " +
			"out1 1f8 14; out2 1f8 1e15; out2 1f8 1e16; out2 1f8 1e17; out2 1f8 1e18; out4 1f8 402f1e19; " +
			"out4 1f8 402f1e1a; out4 1f8 402f1e1b; out1 1f8 1c; out1 1f8 13; out1 1f8 12; out1 1f8 11; " +
			"out1 1f8 10; out4 10 2ffff; out4 10 3001a",
	},
	{
		name: "memory-mapped I/O", mode: Long, code: longMMIO,
		want: "write1 d0000001 11; write2 d0000002 2211; write4 d0000004 44332211; " +
			"write8 d0000008 8877665544332211; write1 d0000003 5a; write4 d0000010 deadbeef; " +
			"write8 d0000018 fffffffffffffffe; read1 d0000001; out4 10 24; read2 d0000002; out4 10 5e41; " +
			"read4 d0000004; out4 10 d2b5987b; read8 d0000008; out4 10 46290cef; out4 10 ba9d8063; " +
			"write2 d0000ffe 8063; write2 d0001000 ba9d; read2 d0000ffe; read2 d0001000; out4 10 2407eacd; " +
			"write1 d0000ffd 8; write1 d0000ffe 7; write1 d0000fff 6; write1 d0001000 5; write1 d0001001 4; " +
			"write1 d0001002 3; write1 d0001003 2; write1 d0001004 1; read1 d0000ffd; read1 d0000ffe; " +
			"read1 d0000fff; read1 d0001000; read1 d0001001; read1 d0001002; read1 d0001003; read1 d0001004; " +
			"out4 10 7eacdb0; out4 10 7b5e4124; read4 d0000020; write4 d0000020 fee1c4ac; read1 d0000025; " +
			"write1 d0000025 39; read4 d0000028; write4 d0000028 7; out4 10 e6c9ac8f; read1 d0000030; out1 10 1; " +
			"read1 d0000040; read1 d0000041; read1 d0000042; read8 d0000043; read8 d000004b; " +
			"write4 d0000080 9e816447; write4 d0000084 12f5d8bb; write2 d0000088 77; write2 d000008a 77; " +
			"write2 d000008c 77; out4 10 f5d8bb9e",
	},
	{
		name: "read-only memory", mode: Long, code: romWrite,
		want: "out4 10 cafef00d; write4 e0000 12345678; write1 e0005 9a; out4 10 cafef00d",
	},
	{name: "triple fault", mode: Long, code: triple, reason: cpu.ExitShutdown},
	{
		name: "undefined", mode: Long, code: undefined,
		want: "out1 e0 6",
	},
	{
		name: "messages", mode: Long, code: msi, handler: msiHandler, vectors: []uint8{vecEdge, vecLevel},
		want: "out1 c0 1; out1 10 ee; out1 10 11; out1 c0 2; out1 10 ee; eoi 51; out1 10 22",
	},
	{
		name: "8259", mode: Long, code: pic, handler: picHandler, vectors: []uint8{vecPIC},
		want: "out1 c0 3; ack; out1 10 dd; out1 c0 3; out1 10 33; ack; out1 10 dd; out1 10 44; out1 c0 4; ack; " +
			"out1 10 dd",
	},
	{
		name: "NMI", mode: Long, code: nmi, handler: nmiHandler, vectors: []uint8{2},
		want: "out1 c0 5; out1 c0 6",
	},
	{
		name: "timer", mode: Long, code: timerGuest, handler: timerHandler, vectors: []uint8{vecTimer},
		want: "out4 10 0",
	},
	{
		name: "two processors", mode: Long, code: smp, ap: smpAP,
		want: "out4 10 5150",
	},
	{
		name: "user mode", mode: Long, code: program, handler: programHandler, vectors: []uint8{0},
		want: "out4 10 7aecc; out4 10 3b; out4 10 10029; out4 10 c; out4 10 3b; out4 10 10042",
	},
	{
		name: "SYSCALL", mode: Long, code: user, handler: userHandler,
		want: "out4 10 7aecc; out4 10 c",
	},
	{
		name: "CPUID and clocks", mode: Long, code: identity,
		want: "out4 10 4b4d564b; out1 10 1; out1 10 0; out1 10 1; out4 10 31001",
	},
	{
		name: "CMPXCHG16B", mode: Long, code: cmpxchg16b,
		want: "out1 10 1; out4 10 33; out4 10 44; out4 10 33; out1 10 0",
	},
	{
		name: "POPCNT", mode: Long, code: popcnt,
		want: "out4 10 9; out4 10 40",
	},
	{
		name: "MOVBE", mode: Long, code: movbe,
		want: "out4 10 44332211; out4 10 44332211",
	},
	{
		name: "XGETBV", mode: Long, code: xgetbv,
		want: "out4 10 1; out4 10 3",
	},
	{
		name: "XRSTOR", mode: Long, code: xrstor,
		want: "out4 10 12345678",
	},
	{
		name: "INT3", mode: Long, code: int3, handler: int3Handler, vectors: []uint8{3, 0x50, 0x51},
		want: "out4 11 10003; out1 10 62; out4 11 10007; out1 10 63; out4 11 1000b; out1 10 64",
	},
	{
		name: "VEX", mode: Long, code: vex,
		want: "out4 10 8; out4 10 8; out4 10 18",
	},
	{
		name: "CLAC", mode: Long, code: smap,
		want: "out1 10 1; out1 10 0",
	},
	{
		name: "INVPCID", mode: Long, code: invpcid,
		want: "out4 10 1111; out4 10 2222",
	},
	{
		name: "FWAIT", mode: Long, code: fwait,
		want: "out4 10 2",
	},
	{
		name: "vectors in I/O memory", mode: Long, code: mmioVex,
		want: "read8 d0000040; read8 d0000048; write8 d0000050 faddc0a386694c2f; read4 d0000060; out4 10 3e2104e7",
	},
}
