package conformance

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"dfemu/cpu/x86"
)

// native runs cases on the processor of the host, in a process that consists
// of nothing but them and the stub.
type native struct {
	shared []byte
	cmd    *exec.Cmd
	send   *os.File
	answer *os.File
}

// batchTimeout is how long a batch may take before the stub counts as stuck.
const batchTimeout = 20 * time.Second

// NewNative starts an executor that is the processor of the host.
func NewNative() (Executor, error) {
	n := &native{}
	if err := n.start(); err != nil {
		n.Close()
		return nil, fmt.Errorf("conformance: running instructions on the host: %w", err)
	}
	return n, nil
}

// start makes the shared file and the process.
func (n *native) start() error {
	memory, err := memFile("dfemu-conformance", nil)
	if err != nil {
		return err
	}
	defer memory.Close()
	if err := memory.Truncate(fileSize); err != nil {
		return err
	}
	n.shared, err = unix.Mmap(int(memory.Fd()), 0, fileSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	for i := range codeSize {
		n.shared[fileCode+i] = filler
	}
	copy(n.shared[fileData:], background[:])

	program, err := memFile("dfemu-conformance-stub", stubImage())
	if err != nil {
		return err
	}
	defer program.Close()
	commands, send, err := os.Pipe()
	if err != nil {
		return err
	}
	defer commands.Close()
	n.send = send
	answer, answers, err := os.Pipe()
	if err != nil {
		return err
	}
	defer answers.Close()
	n.answer = answer
	n.cmd = &exec.Cmd{
		// This process by its number: in the new one, descriptors have moved.
		Path:       fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), program.Fd()),
		Args:       []string{"dfemu-conformance-stub"},
		Env:        []string{},
		ExtraFiles: []*os.File{commands, answers, memory},
	}
	return n.cmd.Start()
}

// memFile returns a file in memory.
func memFile(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(content); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Close implements [Executor].
func (n *native) Close() error {
	if n.send != nil {
		n.send.Close() // the stub exits when there are no more commands
	}
	if n.answer != nil {
		n.answer.Close()
	}
	if n.cmd != nil && n.cmd.Process != nil {
		_ = n.cmd.Process.Kill() // it may be stuck in a case
		_ = n.cmd.Wait()
	}
	if n.shared != nil {
		return unix.Munmap(n.shared)
	}
	return nil
}

// Run implements [Executor].
func (n *native) Run(cases []Case, results []Result) error {
	if err := n.Start(cases); err != nil {
		return err
	}
	return n.Finish(results[:len(cases)])
}

// Start hands a batch to the stub; Finish waits for it.
func (n *native) Start(cases []Case) error {
	if len(cases) > MaxBatch || len(cases) == 0 {
		return fmt.Errorf("conformance: a batch of %d cases: 1 to %d are possible", len(cases), MaxBatch)
	}
	for i := range cases {
		n.put(n.shared[sharedCases+i*sharedStride:], &cases[i])
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(len(cases)))
	_, err := n.send.Write(b[:])
	return err
}

// Finish waits for the batch that Start began.
func (n *native) Finish(results []Result) error {
	var b [8]byte
	if err := n.answer.SetReadDeadline(time.Now().Add(batchTimeout)); err != nil {
		return err
	}
	if _, err := n.answer.Read(b[:]); err != nil {
		at := binary.LittleEndian.Uint64(n.shared[sharedHeader:])
		i := int(at-sharedBase-sharedCases) / sharedStride
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("conformance: case %d of the batch has not ended after %v", i, batchTimeout)
		}
		return fmt.Errorf("conformance: the process that runs cases has died in case %d of the batch: %w", i, err)
	}
	for i := range results {
		n.get(n.shared[sharedCases+sharedResult+i*sharedStride:], &results[i])
	}
	return nil
}

// The general registers in the order of struct sigcontext (Linux,
// arch/x86/include/uapi/asm/sigcontext.h), from its start.
var sigcontextRegs = [16]uint8{x86.R8, x86.R9, x86.R10, x86.R11, x86.R12, x86.R13, x86.R14, x86.R15,
	x86.RDI, x86.RSI, x86.RBP, x86.RBX, x86.RDX, x86.RAX, x86.RCX, x86.RSP}

// Offsets in a case and in its result. Both begin with a sigcontext.
const (
	scRIP, scFlags, scCS, scSS    = 128, 136, 144, 150
	scError, scTrap, scCR2, scFP  = 152, 160, 176, 184
	caseFlags, caseFS, caseSel    = 192, 200, 216
	caseCodeAt, caseCode          = 224, 240
	caseFP, caseMem               = 320, 1280
	resultFS, resultSel, resultFP = 192, 208, 256
	resultMem                     = 1152
	fpXMM, fpSoftware, fpHeader   = 160, 464, 512
	fpYMM, fpSize                 = 576, 832
	fpMagic1, fpMagic2            = 0x46505853, 0x46505845
	sigreturnFlags                = x86.ArithFlags | x86.AC | x86.DF | x86.TF | x86.RF
)

// put writes a case as the stub wants it.
func (n *native) put(b []byte, c *Case) {
	le := binary.LittleEndian
	r := &c.Regs
	for i, reg := range sigcontextRegs {
		le.PutUint64(b[8*i:], r.GPR[reg])
	}
	le.PutUint64(b[scRIP:], r.RIP)
	le.PutUint64(b[scFlags:], r.RFLAGS)
	le.PutUint64(b[scCS:], 0)
	le.PutUint16(b[scCS:], r.Sel[x86.CS])
	le.PutUint16(b[scSS:], r.Sel[x86.SS])
	slot := uint64(cap(n.shared) - cap(b))
	le.PutUint64(b[scFP:], sharedBase+slot+caseFP)
	le.PutUint64(b[caseFlags:], r.RFLAGS&^sigreturnFlags)
	le.PutUint64(b[caseFS:], r.FSBase)
	le.PutUint64(b[caseFS+8:], r.GSBase)
	for i, s := range [...]uint8{x86.ES, x86.DS, x86.FS, x86.GS} {
		le.PutUint16(b[caseSel+2*i:], r.Sel[s])
	}
	size := min(len(c.code), codeBase+codeSize-int(r.RIP))
	le.PutUint64(b[caseCodeAt:], r.RIP)
	le.PutUint64(b[caseCodeAt+8:], uint64(size))
	m := copy(b[caseCode:caseCode+len(c.code)], c.Code)
	for i := m; i < len(c.code); i++ {
		b[caseCode+i] = filler
	}

	fp := b[caseFP : caseFP+fpSize+4]
	clear(fp[:fpYMM])
	f := &r.FPU
	le.PutUint16(fp, f.CW)
	le.PutUint16(fp[2:], f.SW)
	fp[4] = f.Tag
	le.PutUint16(fp[6:], f.FOP)
	le.PutUint64(fp[8:], f.FIP)
	le.PutUint64(fp[16:], f.FDP)
	le.PutUint32(fp[24:], r.MXCSR)
	top := int(f.SW >> 11 & 7)
	for i := range 8 {
		v := &f.R[(top+i)&7]
		le.PutUint64(fp[32+16*i:], v.Mant)
		le.PutUint16(fp[40+16*i:], v.SE)
	}
	for i := range r.Vec {
		v := &r.Vec[i]
		le.PutUint64(fp[fpXMM+16*i:], v[0])
		le.PutUint64(fp[fpXMM+16*i+8:], v[1])
		le.PutUint64(fp[fpYMM+16*i:], v[2])
		le.PutUint64(fp[fpYMM+16*i+8:], v[3])
	}
	le.PutUint32(fp[fpSoftware:], fpMagic1)
	le.PutUint32(fp[fpSoftware+4:], fpSize+4)
	le.PutUint64(fp[fpSoftware+8:], xstate)
	le.PutUint32(fp[fpSoftware+16:], fpSize)
	le.PutUint64(fp[fpHeader:], xstate)
	le.PutUint32(fp[fpSize:], fpMagic2)
	copy(b[caseMem:], c.Mem[:])
}

// get reads a result.
func (n *native) get(b []byte, out *Result) {
	le := binary.LittleEndian
	r := &out.Regs
	for i, reg := range sigcontextRegs {
		r.GPR[reg] = le.Uint64(b[8*i:])
	}
	r.RIP = le.Uint64(b[scRIP:])
	r.RFLAGS = le.Uint64(b[scFlags:])
	r.Sel[x86.CS] = le.Uint16(b[scCS:])
	r.Sel[x86.SS] = le.Uint16(b[scSS:])
	r.FSBase = le.Uint64(b[resultFS:])
	r.GSBase = le.Uint64(b[resultFS+8:])
	for i, s := range [...]uint8{x86.ES, x86.DS, x86.FS, x86.GS} {
		r.Sel[s] = le.Uint16(b[resultSel+2*i:])
	}
	out.Fault = Fault{Vector: int(le.Uint64(b[scTrap:])), Code: uint32(le.Uint64(b[scError:]))}
	if out.Fault.Vector == x86.VecPF {
		out.Fault.CR2 = le.Uint64(b[scCR2:])
	}
	fp := b[resultFP : resultFP+fpSize]
	bv := le.Uint64(fp[fpHeader:])
	f := &r.FPU
	*f = x86.FPU{CW: 0x37f}
	if bv&x86.XCR0_X87 != 0 {
		f.CW, f.SW, f.Tag = le.Uint16(fp), le.Uint16(fp[2:]), fp[4]
		f.FOP, f.FIP, f.FDP = le.Uint16(fp[6:]), le.Uint64(fp[8:]), le.Uint64(fp[16:])
		top := int(f.SW >> 11 & 7)
		for i := range 8 {
			f.R[(top+i)&7] = x86.F80{Mant: le.Uint64(fp[32+16*i:]), SE: le.Uint16(fp[40+16*i:])}
		}
	}
	r.MXCSR = le.Uint32(fp[24:])
	r.Vec = [16][4]uint64{}
	for i := range r.Vec {
		v := &r.Vec[i]
		if bv&x86.XCR0_SSE != 0 {
			v[0], v[1] = le.Uint64(fp[fpXMM+16*i:]), le.Uint64(fp[fpXMM+16*i+8:])
		}
		if bv&x86.XCR0_AVX != 0 {
			v[2], v[3] = le.Uint64(fp[fpYMM+16*i:]), le.Uint64(fp[fpYMM+16*i+8:])
		}
	}
	copy(out.Mem[:], b[resultMem:])
}

// HostFeatures returns the features of the host's processor that the operating system lets programs use.
func HostFeatures() (x86.FeatureSet, error) {
	var set x86.FeatureSet
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return set, fmt.Errorf("conformance: features of the host: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) != "flags" {
			continue
		}
		have := map[string]bool{}
		for _, w := range strings.Fields(value) {
			have[w] = true
		}
		for i := range x86.NumFeatures {
			if f := x86.Feature(i); f != x86.FeatNone && have[f.String()] {
				set = set.With(f)
			}
		}
		return set, nil
	}
	return set, errors.New("conformance: /proc/cpuinfo has no line \"flags\"")
}
