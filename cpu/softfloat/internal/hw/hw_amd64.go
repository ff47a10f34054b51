package hw

// Register is an x87 register as FSTP m80fp stores it, padded to 16 bytes.
type Register struct {
	Mant uint64
	SE   uint16
	_    [6]byte
}

// SSEFunc executes one scalar instruction on a, b and c under the given MXCSR
// and returns the low quadword of the result and the MXCSR afterwards.
// Comparisons return RFLAGS.
type SSEFunc func(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

// X87Func executes one instruction under control word cw with ST(0) = st[0],
// ST(1) = st[1] and an operand in memory, stores the top three registers into
// st and returns the status word.
type X87Func func(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

// SSE returns the function that executes the named instruction, or nil.
func SSE(name string) SSEFunc { return sseFuncs()[name] }

// X87 returns the function that executes the named instruction, or nil.
func X87(name string) X87Func { return x87Funcs()[name] }

func sseFuncs() map[string]SSEFunc {
	return map[string]SSEFunc{
		"add32":       add32,
		"sub32":       sub32,
		"mul32":       mul32,
		"div32":       div32,
		"min32":       min32,
		"max32":       max32,
		"sqrt32":      sqrt32,
		"comis32":     comis32,
		"ucomis32":    ucomis32,
		"cmp32_0":     cmp32_0,
		"cmp32_1":     cmp32_1,
		"cmp32_2":     cmp32_2,
		"cmp32_3":     cmp32_3,
		"cmp32_4":     cmp32_4,
		"cmp32_5":     cmp32_5,
		"cmp32_6":     cmp32_6,
		"cmp32_7":     cmp32_7,
		"cmp32_8":     cmp32_8,
		"cmp32_9":     cmp32_9,
		"cmp32_10":    cmp32_10,
		"cmp32_11":    cmp32_11,
		"cmp32_12":    cmp32_12,
		"cmp32_13":    cmp32_13,
		"cmp32_14":    cmp32_14,
		"cmp32_15":    cmp32_15,
		"cmp32_16":    cmp32_16,
		"cmp32_17":    cmp32_17,
		"cmp32_18":    cmp32_18,
		"cmp32_19":    cmp32_19,
		"cmp32_20":    cmp32_20,
		"cmp32_21":    cmp32_21,
		"cmp32_22":    cmp32_22,
		"cmp32_23":    cmp32_23,
		"cmp32_24":    cmp32_24,
		"cmp32_25":    cmp32_25,
		"cmp32_26":    cmp32_26,
		"cmp32_27":    cmp32_27,
		"cmp32_28":    cmp32_28,
		"cmp32_29":    cmp32_29,
		"cmp32_30":    cmp32_30,
		"cmp32_31":    cmp32_31,
		"round32_0":   round32_0,
		"round32_1":   round32_1,
		"round32_2":   round32_2,
		"round32_3":   round32_3,
		"round32_4":   round32_4,
		"round32_8":   round32_8,
		"round32_12":  round32_12,
		"fmadd32":     fmadd32,
		"fmsub32":     fmsub32,
		"fnmadd32":    fnmadd32,
		"fnmsub32":    fnmsub32,
		"fmadd213_32": fmadd213_32,
		"fmadd132_32": fmadd132_32,
		"toi32_32":    toi32_32,
		"toi64_32":    toi64_32,
		"tou32_32":    tou32_32,
		"tou64_32":    tou64_32,
		"ttoi32_32":   ttoi32_32,
		"ttoi64_32":   ttoi64_32,
		"ttou32_32":   ttou32_32,
		"ttou64_32":   ttou64_32,
		"fromi32_32":  fromi32_32,
		"fromi64_32":  fromi64_32,
		"fromu32_32":  fromu32_32,
		"fromu64_32":  fromu64_32,
		"add64":       add64,
		"sub64":       sub64,
		"mul64":       mul64,
		"div64":       div64,
		"min64":       min64,
		"max64":       max64,
		"sqrt64":      sqrt64,
		"comis64":     comis64,
		"ucomis64":    ucomis64,
		"cmp64_0":     cmp64_0,
		"cmp64_1":     cmp64_1,
		"cmp64_2":     cmp64_2,
		"cmp64_3":     cmp64_3,
		"cmp64_4":     cmp64_4,
		"cmp64_5":     cmp64_5,
		"cmp64_6":     cmp64_6,
		"cmp64_7":     cmp64_7,
		"cmp64_8":     cmp64_8,
		"cmp64_9":     cmp64_9,
		"cmp64_10":    cmp64_10,
		"cmp64_11":    cmp64_11,
		"cmp64_12":    cmp64_12,
		"cmp64_13":    cmp64_13,
		"cmp64_14":    cmp64_14,
		"cmp64_15":    cmp64_15,
		"cmp64_16":    cmp64_16,
		"cmp64_17":    cmp64_17,
		"cmp64_18":    cmp64_18,
		"cmp64_19":    cmp64_19,
		"cmp64_20":    cmp64_20,
		"cmp64_21":    cmp64_21,
		"cmp64_22":    cmp64_22,
		"cmp64_23":    cmp64_23,
		"cmp64_24":    cmp64_24,
		"cmp64_25":    cmp64_25,
		"cmp64_26":    cmp64_26,
		"cmp64_27":    cmp64_27,
		"cmp64_28":    cmp64_28,
		"cmp64_29":    cmp64_29,
		"cmp64_30":    cmp64_30,
		"cmp64_31":    cmp64_31,
		"round64_0":   round64_0,
		"round64_1":   round64_1,
		"round64_2":   round64_2,
		"round64_3":   round64_3,
		"round64_4":   round64_4,
		"round64_8":   round64_8,
		"round64_12":  round64_12,
		"fmadd64":     fmadd64,
		"fmsub64":     fmsub64,
		"fnmadd64":    fnmadd64,
		"fnmsub64":    fnmsub64,
		"fmadd213_64": fmadd213_64,
		"fmadd132_64": fmadd132_64,
		"toi32_64":    toi32_64,
		"toi64_64":    toi64_64,
		"tou32_64":    tou32_64,
		"tou64_64":    tou64_64,
		"ttoi32_64":   ttoi32_64,
		"ttoi64_64":   ttoi64_64,
		"ttou32_64":   ttou32_64,
		"ttou64_64":   ttou64_64,
		"fromi32_64":  fromi32_64,
		"fromi64_64":  fromi64_64,
		"fromu32_64":  fromu32_64,
		"fromu64_64":  fromu64_64,
		"f32tof64":    f32tof64,
		"f64tof32":    f64tof32,
		"f16tof32":    f16tof32,
		"f32tof16_0":  f32tof16_0,
		"f32tof16_1":  f32tof16_1,
		"f32tof16_2":  f32tof16_2,
		"f32tof16_3":  f32tof16_3,
		"f32tof16_4":  f32tof16_4,
	}
}

func x87Funcs() map[string]X87Func {
	return map[string]X87Func{
		"fadd":     fadd,
		"fsub":     fsub,
		"fmul":     fmul,
		"fdiv":     fdiv,
		"fsubr":    fsubr,
		"fdivr":    fdivr,
		"fsqrt":    fsqrt,
		"fprem":    fprem,
		"fprem1":   fprem1,
		"frndint":  frndint,
		"fscale":   fscale,
		"fxtract":  fxtract,
		"fcom":     fcom,
		"fucom":    fucom,
		"ftst":     ftst,
		"fxam":     fxam,
		"fsin":     fsin,
		"fcos":     fcos,
		"fsincos":  fsincos,
		"fptan":    fptan,
		"fpatan":   fpatan,
		"f2xm1":    f2xm1,
		"fyl2x":    fyl2x,
		"fyl2xp1":  fyl2xp1,
		"fldl2t":   fldl2t,
		"fldl2e":   fldl2e,
		"fldpi":    fldpi,
		"fldlg2":   fldlg2,
		"fldln2":   fldln2,
		"fld32":    fld32,
		"fld64":    fld64,
		"fst32":    fst32,
		"fst64":    fst64,
		"fist16":   fist16,
		"fist32":   fist32,
		"fistp64":  fistp64,
		"fisttp16": fisttp16,
		"fisttp32": fisttp32,
		"fisttp64": fisttp64,
		"fild16":   fild16,
		"fild32":   fild32,
		"fild64":   fild64,
		"fbld":     fbld,
		"fbstp":    fbstp,
		"fadd32":   fadd32,
		"fadd64":   fadd64,
		"fmul32":   fmul32,
		"fmul64":   fmul64,
		"fsub64":   fsub64,
		"fdiv32":   fdiv32,
		"fdivr64":  fdivr64,
		"fiadd32":  fiadd32,
		"fcom32":   fcom32,
		"fcom64":   fcom64,
	}
}

func add32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func sub32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func mul32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func div32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func min32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func max32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func sqrt32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func comis32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func ucomis32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_0(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_1(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_2(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_3(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_4(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_5(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_6(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_7(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_8(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_9(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_10(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_11(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_12(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_13(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_14(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_15(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_16(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_17(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_18(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_19(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_20(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_21(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_22(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_23(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_24(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_25(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_26(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_27(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_28(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_29(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_30(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp32_31(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func round32_0(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func round32_1(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func round32_2(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func round32_3(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func round32_4(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func round32_8(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func round32_12(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fmadd32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fmsub32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fnmadd32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fnmsub32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fmadd213_32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fmadd132_32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func toi32_32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func toi64_32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func tou32_32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func tou64_32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func ttoi32_32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func ttoi64_32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func ttou32_32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func ttou64_32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fromi32_32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fromi64_32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fromu32_32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fromu64_32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func add64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func sub64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func mul64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func div64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func min64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func max64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func sqrt64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func comis64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func ucomis64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_0(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_1(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_2(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_3(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_4(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_5(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_6(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_7(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_8(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_9(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_10(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_11(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_12(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_13(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_14(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_15(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_16(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_17(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_18(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_19(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_20(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_21(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_22(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_23(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_24(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_25(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_26(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_27(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_28(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_29(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_30(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func cmp64_31(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func round64_0(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func round64_1(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func round64_2(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func round64_3(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func round64_4(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func round64_8(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func round64_12(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fmadd64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fmsub64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fnmadd64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fnmsub64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fmadd213_64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fmadd132_64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func toi32_64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func toi64_64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func tou32_64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func tou64_64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func ttoi32_64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func ttoi64_64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func ttou32_64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func ttou64_64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fromi32_64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fromi64_64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fromu32_64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fromu64_64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func f32tof64(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func f64tof32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func f16tof32(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func f32tof16_0(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func f32tof16_1(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func f32tof16_2(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func f32tof16_3(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func f32tof16_4(mxcsr uint32, a, b, c uint64) (r uint64, status uint32)

func fadd(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fsub(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fmul(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fdiv(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fsubr(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fdivr(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fsqrt(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fprem(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fprem1(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func frndint(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fscale(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fxtract(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fcom(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fucom(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func ftst(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fxam(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fsin(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fcos(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fsincos(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fptan(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fpatan(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func f2xm1(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fyl2x(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fyl2xp1(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fldl2t(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fldl2e(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fldpi(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fldlg2(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fldln2(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fld32(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fld64(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fst32(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fst64(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fist16(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fist32(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fistp64(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fisttp16(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fisttp32(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fisttp64(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fild16(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fild32(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fild64(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fbld(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fbstp(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fadd32(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fadd64(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fmul32(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fmul64(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fsub64(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fdiv32(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fdivr64(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fiadd32(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fcom32(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)

func fcom64(cw uint16, st *[3]Register, mem *[16]byte) (status uint16)
