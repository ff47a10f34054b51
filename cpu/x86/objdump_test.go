package x86

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// slot is the distance of the instructions in the file given to objdump; the
// space after each is filled with NOPs.
const slot = 32

// objdump disassembles codes and returns for each the text and the length
// of the instruction that objdump sees.
func objdump(t *testing.T, mode Mode, codes [][]byte) (text []string, size []int) {
	path, err := exec.LookPath("objdump")
	if err != nil {
		t.Skip("objdump (binutils) is not installed")
	}
	file := filepath.Join(t.TempDir(), "code")
	image := []byte(strings.Repeat("\x90", slot*len(codes)))
	for i, c := range codes {
		copy(image[i*slot:], c)
	}
	if err := os.WriteFile(file, image, 0o600); err != nil {
		t.Fatal(err)
	}
	machine := [3]string{"i8086", "i386", "x86-64"}[mode]
	out, err := exec.Command(path, "-D", "-z", "-w", "-b", "binary", "-m", "i386", "-M", "intel,"+machine, file).Output()
	if err != nil {
		t.Skipf("objdump failed: %v", err)
	}
	text, size = make([]string, len(codes)), make([]int, len(codes))
	for line := range strings.Lines(string(out)) {
		f := strings.SplitN(strings.TrimSpace(line), "\t", 3)
		addr, err := strconv.ParseUint(strings.TrimSuffix(f[0], ":"), 16, 32)
		if err != nil || len(f) < 3 || addr%slot != 0 {
			continue
		}
		text[addr/slot] = f[2]
		size[addr/slot] = len(strings.Fields(f[1]))
	}
	return text, size
}

func TestObjdump(t *testing.T) {
	var codes [3][][]byte
	eachChoice(2, func(e *Enc, c Choice, code []byte, err error) {
		codes[c.Mode] = append(codes[c.Mode], code)
	})
	for _, mode := range allModes {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			text, size := objdump(t, mode, codes[mode])
			bad := 0
			for i, code := range codes[mode] {
				var in Inst
				if err := Decode(mode, code, &in); err != nil {
					t.Fatal(err)
				}
				mask := uint64(0xffffffff)
				if in.OpSize == 2 {
					mask = 0xffff
				}
				got, want := plain(in.String(), i*slot, mask), plain(text[i], i*slot, mask)
				if (got != want && !known(&in, got, want)) || size[i] != len(code) && !strings.Contains(want, "(bad)") && in.Op != FWAIT {
					if bad++; bad < 20 {
						t.Errorf("%-30s %-40q objdump %q (%q)", fmt.Sprintf("% x", code), got, want, text[i])
					}
				}
			}
		})
	}
}

var (
	comment   = regexp.MustCompile(` +[#<].*`)
	ignored   = regexp.MustCompile(`\b(addr(16|32)|data(16|32)|rex(\.[wrxb]+)?|ds|bnd|notrack) `)
	zeroDisp  = regexp.MustCompile(`\+0x0\]`)
	minusDisp = regexp.MustCompile(`\+0xffffffff([89a-f][0-9a-f]{7})\]`)
	x87Memory = regexp.MustCompile(`^(f[a-z]+) st, (.*\[)`)
	absolute  = regexp.MustCompile(`([c-gs]s):(0x[0-9a-f]+)`)
	sizePtr   = regexp.MustCompile(`(byte|word|dword|qword)ptr`)
	relative  = regexp.MustCompile(`\.([+-]0x[0-9a-f]+)`)
)

// plain makes the two disassemblers' texts alike: spaces, names of prefixes
// without effect, and the ways of writing displacements and targets.
func plain(s string, addr int, mask uint64) string {
	s = comment.ReplaceAllString(strings.ToLower(s), "")
	s = ignored.ReplaceAllString(s, "")
	s = strings.NewReplacer("repz ", "rep ", "repe ", "rep ", "repnz ", "repne ", "st(0)", "st",
		"call far ", "call ", "jmp far ", "jmp ", "eiz*1+", "", "movabs ", "mov ").Replace(s)
	s = x87Memory.ReplaceAllString(s, "$1 $2")
	s = zeroDisp.ReplaceAllString(s, "]")
	s = minusDisp.ReplaceAllStringFunc(s, func(d string) string {
		v, _ := strconv.ParseUint(d[3:len(d)-1], 16, 64)
		return fmt.Sprintf("-%#x]", -v)
	})
	s = absolute.ReplaceAllString(s, "$1:[$2]")
	s = strings.ReplaceAll(s, "ds:[", "[")
	s = relative.ReplaceAllStringFunc(s, func(d string) string {
		v, _ := strconv.ParseInt(d[1:], 0, 64)
		return fmt.Sprintf("%#x", uint64(int64(addr)+v)&mask)
	})
	return strings.Join(strings.Fields(s), "")
}

// opSizeIn are the instructions that the two disassemblers name by their
// operand size in different ways; the lengths are compared.
var opSizeIn = map[Op]bool{
	MOVS: true, CMPS: true, STOS: true, LODS: true, SCAS: true, INS: true, OUTS: true,
	PUSHA: true, POPA: true, PUSHF: true, POPF: true, IRET: true, PUSHSEG: true, POPSEG: true,
	ENTER: true, LEAVE: true, RETFAR: true, FLDENV: true, FNSTENV: true, FNSAVE: true, FRSTOR: true, RET: true, SGDT: true, SIDT: true, LGDT: true, LIDT: true,
	JMPFAR: true, CALLFAR: true, JMP: true, CALL: true, PUSH: true, POP: true, SYSRET: true, SYSEXIT: true,
}

// known reports whether the difference is one of names only, or objdump does
// not know what processors do.
func known(in *Inst, got, want string) bool {
	switch in.Op {
	case SALC, FCOM, FCOMP, FXCH, FSTP, LFENCE, MFENCE, SFENCE, WBINVD: // undocumented forms
		return want == "(bad)" && in.Enc.ModRM&MemOnly == 0
	case MASKMOVQ, MASKMOVDQU, VMASKMOVDQU: // the memory operand is not shown
		return strings.HasPrefix(got, want+",") || strings.HasPrefix(want, "fs")
	case PREFETCH, PREFETCHW, PREFETCHNTA, PREFETCHT0, PREFETCHT1, PREFETCHT2, CLFLUSH, CLFLUSHOPT, CLWB, INVLPG:
		return strings.Replace(want, "byteptr", "", 1) == got
	case LDDQU, VLDDQU, INVPCID: // the size is not shown
		return strings.NewReplacer("xmmwordptr", "", "ymmwordptr", "").Replace(got) == want
	case MOV:
		if f := in.Enc.Args; f[0] == Ob || f[0] == Ov || f[1] == Ob || f[1] == Ov {
			return sizePtr.ReplaceAllString(got, "") == want
		}
	case NOP: // MPX, and prefetches with reserved values
		return strings.HasPrefix(want, "bnd") || strings.HasSuffix(want, "(bad)") || strings.HasPrefix(want, "prefetch") || want == "xchgeax,eax" || want == "xchgax,ax" || want == "xchgrax,rax"
	case MOVMSKPS, MOVMSKPD, PMOVMSKB, VMOVMSKPS, VMOVMSKPD, VPMOVMSKB, PEXTRW, VPEXTRW, PEXTRB, VPEXTRB, PINSRW, VPINSRW, PINSRB, VPINSRB, EXTRACTPS, VEXTRACTPS:
		return in.Args[0].Kind == KindReg || in.Args[1].Kind == KindReg || in.Args[2].Kind == KindReg // 64-bit names with W
	case MOVDQ2Q: // with 66, MMX registers are shown as XMM ones
		return strings.Replace(want, "xmm", "mm", 1) == got
	case MOVQ2DQ:
		return strings.Replace(want, ",xmm", ",mm", 1) == got
	case VMOVSS, VMOVSD: // VEX.L is ignored
		return strings.ReplaceAll(want, "ymm", "xmm") == got
	case MOVSEG, FWAIT:
		return true
	case MOVSXD: // AMD's read 32 bits for operand size 16
		return in.OpSize == 2
	case CMPXCHG16B:
		return strings.Replace(want, "oword", "xmmword", 1) == got
	case LFS, LGS, LSS: // 10 bytes with REX.W on Intel's processors
		return strings.Replace(got, "tbyte", "fword", 1) == want
	case PCMPESTRI, PCMPESTRM, VPCMPESTRI, VPCMPESTRM:
		return strings.Replace(want, "q", "", 1) == got
	case CMPPS, CMPPD, CMPSS, CMPSD, VCMPPS, VCMPPD, VCMPSS, VCMPSD: // shown without the immediate
		_, g, _ := strings.Cut(got, "mm")
		_, w, _ := strings.Cut(want, "mm")
		return strings.HasPrefix(g, w+",")
	case PCLMULQDQ, VPCLMULQDQ: // likewise
		return true
	}
	return opSizeIn[in.Op] || strings.HasPrefix(want, got+"(8087only)") || strings.HasPrefix(want, got+"(287only)")
}
