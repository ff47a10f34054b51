package x86

// Flags are what an instruction does to the status and control flags, as
// masks of RFLAGS bits.
type Flags struct {
	Written   uint32 // given a defined value
	Undefined uint32 // left with an undefined value
	Tested    uint32 // read
	// Cond: whether flags are written depends on the operands (a shift by
	// zero leaves them, as does a repeated instruction with a count of zero).
	Cond bool
}

// Ctl says how an instruction affects the flow of control or what code
// translated before it relies on.
type Ctl uint8

// The effects on control.
const (
	CtlNone    Ctl = iota
	CtlJump        // near jump, unconditional
	CtlCond        // near jump, conditional, to a relative target
	CtlCall        // near call
	CtlRet         // near return
	CtlFar         // far jump, call or return, IRET: may change mode and privilege
	CtlTrap        // raises an exception or a software interrupt (some only if a condition holds)
	CtlSyscall     // SYSCALL, SYSENTER and their returns: changes privilege
	CtlState       // changes mode, paging, flags that decide about interrupts, or the TLB
	CtlShadow      // inhibits interrupts for one instruction: STI, and loads of SS
	CtlHalt        // may stop the processor: HLT, MWAIT
	CtlExit        // leaves for the monitor: hypercalls
)

// Priv is who may execute an instruction.
type Priv uint8

// The privilege checks.
const (
	PrivNone Priv = iota
	PrivCPL0      // CPL 0, otherwise #GP(0)
	PrivIOPL      // CPL <= IOPL, otherwise #GP(0) (CLI and STI)
	PrivIO        // CPL <= IOPL, otherwise the I/O permission bitmap decides
	PrivVM        // in virtual-8086 mode IOPL 3, otherwise #GP(0)
	PrivUMIP      // CPL 0 if CR4.UMIP is set
	PrivTSD       // CPL 0 if CR4.TSD is set
	PrivPCE       // CPL 0 unless CR4.PCE is set
	PrivAC        // CPL 0, otherwise #UD (CLAC, STAC, MONITOR, MWAIT)
)

// fact is what holds for all encodings of an instruction.
type fact struct {
	f    Flags
	ctl  Ctl
	priv Priv
	prot bool // #UD in real-address and virtual-8086 mode
}

// The groups of flags in facts.
const (
	fZC    = ZF | CF
	fLogic = SF | ZF | PF | CF | OF // AF is undefined
	fNoCF  = OF | SF | ZF | AF | PF
)

// facts is indexed by Op (Intel SDM vol. 1, appendix A, and the instructions' pages).
var facts = [NumOps]fact{
	ADD: {f: Flags{Written: ArithFlags}}, SUB: {f: Flags{Written: ArithFlags}},
	CMP: {f: Flags{Written: ArithFlags}}, NEG: {f: Flags{Written: ArithFlags}},
	ADC: {f: Flags{Written: ArithFlags, Tested: CF}}, SBB: {f: Flags{Written: ArithFlags, Tested: CF}},
	AND: {f: Flags{Written: fLogic, Undefined: AF}}, OR: {f: Flags{Written: fLogic, Undefined: AF}},
	XOR: {f: Flags{Written: fLogic, Undefined: AF}}, TEST: {f: Flags{Written: fLogic, Undefined: AF}},
	INC: {f: Flags{Written: fNoCF}}, DEC: {f: Flags{Written: fNoCF}},
	MUL:  {f: Flags{Written: OF | CF, Undefined: SF | ZF | AF | PF}},
	IMUL: {f: Flags{Written: OF | CF, Undefined: SF | ZF | AF | PF}},
	DIV:  {f: Flags{Undefined: ArithFlags}}, IDIV: {f: Flags{Undefined: ArithFlags}},
	ADCX: {f: Flags{Written: CF, Tested: CF}}, ADOX: {f: Flags{Written: OF, Tested: OF}},
	ROL: {f: Flags{Written: CF, Undefined: OF, Cond: true}}, ROR: {f: Flags{Written: CF, Undefined: OF, Cond: true}},
	RCL: {f: Flags{Written: CF, Undefined: OF, Tested: CF, Cond: true}},
	RCR: {f: Flags{Written: CF, Undefined: OF, Tested: CF, Cond: true}},
	SHL: {f: Flags{Written: SF | ZF | PF | CF, Undefined: OF | AF, Cond: true}},
	SHR: {f: Flags{Written: SF | ZF | PF | CF, Undefined: OF | AF, Cond: true}},
	SAR: {f: Flags{Written: SF | ZF | PF | CF, Undefined: OF | AF, Cond: true}},
	// A count above the operand size (16 bits) leaves all of them undefined.
	SHLD: {f: Flags{Written: SF | ZF | PF | CF, Undefined: OF | AF, Cond: true}},
	SHRD: {f: Flags{Written: SF | ZF | PF | CF, Undefined: OF | AF, Cond: true}},
	BT:   {f: Flags{Written: CF, Undefined: OF | SF | AF | PF}}, BTS: {f: Flags{Written: CF, Undefined: OF | SF | AF | PF}},
	BTR: {f: Flags{Written: CF, Undefined: OF | SF | AF | PF}}, BTC: {f: Flags{Written: CF, Undefined: OF | SF | AF | PF}},
	BSF: {f: Flags{Written: ZF, Undefined: CF | OF | SF | AF | PF}}, BSR: {f: Flags{Written: ZF, Undefined: CF | OF | SF | AF | PF}},
	TZCNT:  {f: Flags{Written: fZC, Undefined: OF | SF | PF | AF}},
	LZCNT:  {f: Flags{Written: fZC, Undefined: OF | SF | PF | AF}},
	POPCNT: {f: Flags{Written: ArithFlags}},
	AAA:    {f: Flags{Written: AF | CF, Undefined: OF | SF | ZF | PF, Tested: AF}},
	AAS:    {f: Flags{Written: AF | CF, Undefined: OF | SF | ZF | PF, Tested: AF}},
	AAM:    {f: Flags{Written: SF | ZF | PF, Undefined: OF | AF | CF}},
	AAD:    {f: Flags{Written: SF | ZF | PF, Undefined: OF | AF | CF}},
	DAA:    {f: Flags{Written: SF | ZF | PF | AF | CF, Undefined: OF, Tested: AF | CF}},
	DAS:    {f: Flags{Written: SF | ZF | PF | AF | CF, Undefined: OF, Tested: AF | CF}},
	SALC:   {f: Flags{Tested: CF}},

	ANDN:   {f: Flags{Written: SF | ZF | OF | CF, Undefined: AF | PF}, prot: true},
	BEXTR:  {f: Flags{Written: ZF | CF | OF, Undefined: SF | AF | PF}, prot: true},
	BLSI:   {f: Flags{Written: SF | ZF | OF | CF, Undefined: AF | PF}, prot: true},
	BLSMSK: {f: Flags{Written: SF | ZF | OF | CF, Undefined: AF | PF}, prot: true},
	BLSR:   {f: Flags{Written: SF | ZF | OF | CF, Undefined: AF | PF}, prot: true},
	BZHI:   {f: Flags{Written: SF | ZF | OF | CF, Undefined: AF | PF}, prot: true},

	XADD: {f: Flags{Written: ArithFlags}}, CMPXCHG: {f: Flags{Written: ArithFlags}},
	CMPXCHG8B: {f: Flags{Written: ZF}}, CMPXCHG16B: {f: Flags{Written: ZF}},
	PUSHF: {priv: PrivVM, f: Flags{Tested: ArithFlags | TF | IF | DF | IOPL | NT | AC | ID}},
	POPF:  {priv: PrivVM, ctl: CtlState, f: Flags{Written: ArithFlags | TF | IF | DF | IOPL | NT | AC | ID | RF, Cond: true}},
	LAHF:  {f: Flags{Tested: SF | ZF | AF | PF | CF}}, SAHF: {f: Flags{Written: SF | ZF | AF | PF | CF}},
	CLC: {f: Flags{Written: CF}}, STC: {f: Flags{Written: CF}}, CMC: {f: Flags{Written: CF, Tested: CF}},
	CLD: {f: Flags{Written: DF}}, STD: {f: Flags{Written: DF}},

	MOVS: {f: Flags{Tested: DF}}, STOS: {f: Flags{Tested: DF}}, LODS: {f: Flags{Tested: DF}},
	CMPS: {f: Flags{Written: ArithFlags, Tested: DF, Cond: true}}, SCAS: {f: Flags{Written: ArithFlags, Tested: DF, Cond: true}},
	INS: {priv: PrivIO, f: Flags{Tested: DF}}, OUTS: {priv: PrivIO, f: Flags{Tested: DF}},
	IN: {priv: PrivIO}, OUT: {priv: PrivIO},

	JMP: {ctl: CtlJump}, CALL: {ctl: CtlCall}, RET: {ctl: CtlRet},
	JMPFAR: {ctl: CtlFar}, CALLFAR: {ctl: CtlFar}, RETFAR: {ctl: CtlFar},
	IRET: {ctl: CtlFar, priv: PrivVM, f: Flags{Written: ArithFlags | TF | IF | DF | IOPL | NT | RF | AC | ID, Tested: NT, Cond: true}},
	JCXZ: {ctl: CtlCond}, JECXZ: {ctl: CtlCond}, JRCXZ: {ctl: CtlCond}, LOOP: {ctl: CtlCond},
	LOOPE: {ctl: CtlCond, f: Flags{Tested: ZF}}, LOOPNE: {ctl: CtlCond, f: Flags{Tested: ZF}},
	INT: {ctl: CtlTrap, priv: PrivVM}, INT1: {ctl: CtlTrap}, INT3: {ctl: CtlTrap},
	INTO: {ctl: CtlTrap, f: Flags{Tested: OF}}, BOUND: {},
	UD0: {ctl: CtlTrap}, UD1: {ctl: CtlTrap}, UD2: {ctl: CtlTrap}, RSM: {ctl: CtlTrap},
	SYSCALL:  {ctl: CtlSyscall, f: Flags{Written: ArithFlags | TF | IF | DF | IOPL | NT | RF | AC | ID, Tested: ArithFlags | TF | IF | DF | IOPL | NT | RF | AC | ID}},
	SYSRET:   {ctl: CtlSyscall, priv: PrivCPL0, f: Flags{Written: ArithFlags | TF | IF | DF | IOPL | NT | AC | ID}},
	SYSENTER: {ctl: CtlSyscall, f: Flags{Written: IF | VM}},
	SYSEXIT:  {ctl: CtlSyscall, priv: PrivCPL0},
	VMCALL:   {ctl: CtlExit}, VMMCALL: {ctl: CtlExit},

	CLI: {priv: PrivIOPL, ctl: CtlState, f: Flags{Written: IF}}, STI: {priv: PrivIOPL, ctl: CtlShadow, f: Flags{Written: IF}},
	CLAC: {priv: PrivAC, ctl: CtlState, f: Flags{Written: AC}}, STAC: {priv: PrivAC, ctl: CtlState, f: Flags{Written: AC}},
	CLTS: {priv: PrivCPL0, ctl: CtlState}, HLT: {priv: PrivCPL0, ctl: CtlHalt},
	INVD: {priv: PrivCPL0}, WBINVD: {priv: PrivCPL0},
	INVLPG: {priv: PrivCPL0, ctl: CtlState}, INVPCID: {priv: PrivCPL0, ctl: CtlState},
	LGDT: {priv: PrivCPL0}, LIDT: {priv: PrivCPL0},
	LLDT: {priv: PrivCPL0, prot: true}, LTR: {priv: PrivCPL0, prot: true}, LMSW: {priv: PrivCPL0, ctl: CtlState},
	SGDT: {priv: PrivUMIP}, SIDT: {priv: PrivUMIP}, SLDT: {priv: PrivUMIP, prot: true}, STR: {priv: PrivUMIP, prot: true}, SMSW: {priv: PrivUMIP},
	LAR: {prot: true, f: Flags{Written: ZF}}, LSL: {prot: true, f: Flags{Written: ZF}},
	VERR: {prot: true, f: Flags{Written: ZF}}, VERW: {prot: true, f: Flags{Written: ZF}}, ARPL: {prot: true, f: Flags{Written: ZF}},
	MOVCR: {priv: PrivCPL0, ctl: CtlState, f: Flags{Undefined: ArithFlags}},
	MOVDR: {priv: PrivCPL0, ctl: CtlState, f: Flags{Undefined: ArithFlags}},
	RDMSR: {priv: PrivCPL0}, WRMSR: {priv: PrivCPL0, ctl: CtlState}, RDPMC: {priv: PrivPCE},
	RDTSC: {priv: PrivTSD}, RDTSCP: {priv: PrivTSD}, SWAPGS: {priv: PrivCPL0, ctl: CtlState},
	WRFSBASE: {ctl: CtlState}, WRGSBASE: {ctl: CtlState},
	MONITOR: {priv: PrivAC}, MWAIT: {priv: PrivAC, ctl: CtlHalt},
	XSETBV: {priv: PrivCPL0, ctl: CtlState},
	RDRAND: {f: Flags{Written: ArithFlags}}, RDSEED: {f: Flags{Written: ArithFlags}},

	MOVSEG: {ctl: CtlState}, POPSEG: {ctl: CtlState},
	LDS: {ctl: CtlState}, LES: {ctl: CtlState}, LFS: {ctl: CtlState}, LGS: {ctl: CtlState}, LSS: {ctl: CtlState},

	FCMOVB: {f: Flags{Tested: CF}}, FCMOVNB: {f: Flags{Tested: CF}},
	FCMOVE: {f: Flags{Tested: ZF}}, FCMOVNE: {f: Flags{Tested: ZF}},
	FCMOVBE: {f: Flags{Tested: fZC}}, FCMOVNBE: {f: Flags{Tested: fZC}},
	FCMOVU: {f: Flags{Tested: PF}}, FCMOVNU: {f: Flags{Tested: PF}},
	FCOMI: {f: Flags{Written: ArithFlags}}, FCOMIP: {f: Flags{Written: ArithFlags}},
	FUCOMI: {f: Flags{Written: ArithFlags}}, FUCOMIP: {f: Flags{Written: ArithFlags}},
	COMISS: {f: Flags{Written: ArithFlags}}, COMISD: {f: Flags{Written: ArithFlags}},
	UCOMISS: {f: Flags{Written: ArithFlags}}, UCOMISD: {f: Flags{Written: ArithFlags}},
	VCOMISS: {f: Flags{Written: ArithFlags}}, VCOMISD: {f: Flags{Written: ArithFlags}},
	VUCOMISS: {f: Flags{Written: ArithFlags}}, VUCOMISD: {f: Flags{Written: ArithFlags}},
	PTEST: {f: Flags{Written: ArithFlags}}, VPTEST: {f: Flags{Written: ArithFlags}},
	VTESTPS: {f: Flags{Written: ArithFlags}}, VTESTPD: {f: Flags{Written: ArithFlags}},
	PCMPESTRI: {f: Flags{Written: ArithFlags}}, PCMPESTRM: {f: Flags{Written: ArithFlags}},
	PCMPISTRI: {f: Flags{Written: ArithFlags}}, PCMPISTRM: {f: Flags{Written: ArithFlags}},
	VPCMPESTRI: {f: Flags{Written: ArithFlags}}, VPCMPESTRM: {f: Flags{Written: ArithFlags}},
	VPCMPISTRI: {f: Flags{Written: ArithFlags}}, VPCMPISTRM: {f: Flags{Written: ArithFlags}},
}

// condFlags are the flags that condition codes 2n and 2n+1 test.
var condFlags = [8]uint32{OF, CF, ZF, CF | ZF, SF, PF, SF | OF, SF | OF | ZF}

// Cond returns the condition code (0, O, to 15, G) of a Jcc, SETcc or CMOVcc.
func (op Op) Cond() (cc uint8, ok bool) {
	switch {
	case op >= JO && op <= JG:
		return uint8(op - JO), true
	case op >= SETO && op <= SETG:
		return uint8(op - SETO), true
	case op >= CMOVO && op <= CMOVG:
		return uint8(op - CMOVO), true
	}
	return 0, false
}

// Flags returns what the row's instructions do to the flags. A shift's or
// rotate's OF is defined for a count of 1 and, unless the row says that the
// count is 1, given as undefined.
func (e *Enc) Flags() Flags {
	if cc, ok := e.Op.Cond(); ok {
		return Flags{Tested: condFlags[cc>>1]}
	}
	if int(e.Op) >= NumOps {
		return Flags{}
	}
	f := facts[e.Op].f
	if f.Cond && e.Args[1] == One {
		f.Written |= OF
		f.Undefined &^= OF
		f.Cond = false
	}
	return f
}

// Ctl returns how the row's instructions affect control.
func (e *Enc) Ctl() Ctl {
	switch {
	case e.Op >= JO && e.Op <= JG:
		return CtlCond
	case int(e.Op) >= NumOps:
		return CtlNone
	case e.Op == MOVSEG && e.Args[0] != Sw, (e.Op == MOVCR || e.Op == MOVDR) && e.Args[0] == Rm:
		return CtlNone // reads
	case e.Op == POPSEG && e.Args[0] == SegSS:
		return CtlShadow
	}
	return facts[e.Op].ctl
}

// Ctl returns how the instruction affects control: as its row's, but a MOV to
// SS is told from one to another segment register.
func (in *Inst) Ctl() Ctl {
	if in.Op == MOVSEG && in.Args[0].Kind == KindSeg && in.Args[0].Reg == SS {
		return CtlShadow
	}
	return in.Enc.Ctl()
}

// EndsBlock reports whether the instruction after this one may be other than
// the next in memory, or may have to be decoded or executed under other
// rules. Repeated string instructions do not end a block.
func (in *Inst) EndsBlock() bool { return in.Ctl() != CtlNone }

// Priv returns who may execute the instruction.
func (op Op) Priv() Priv {
	if int(op) >= NumOps {
		return PrivNone
	}
	return facts[op].priv
}

// ProtectedOnly reports whether the row's instructions raise #UD in
// real-address and virtual-8086 mode, as all with VEX do.
func (e *Enc) ProtectedOnly() bool { return e.Map.IsVEX() || int(e.Op) < NumOps && facts[e.Op].prot }
