package pc64

import "math/bits"

// The clock is the time-stamp counter. Its frequency comes from CPUID, or is measured
// against the ACPI timer or, without one, the 8254.
var (
	tscHz     uint64
	tscZero   uint64
	tscMul    uint64 // nanoseconds per count in 1/2^32
	wallZero  uint64 // nanoseconds since 1970 at tscZero
	tscSource string
)

const (
	second        = 1_000_000_000
	measureTime   = 5_000_000 // nanoseconds
	pmTimerHz     = 3579545
	pitHz         = 1193182
	hypervisorMax = 0x40000000
)

// now is the time since the system started, in nanoseconds.
func now() int64 {
	hi, lo := bits.Mul64(rdtsc()-tscZero, tscMul)
	return int64(hi<<32 | lo>>32)
}

// tscAt is the counter's value at a time.
func tscAt(ns int64) uint64 {
	hi, lo := bits.Mul64(uint64(ns), tscHz)
	q, _ := bits.Div64(hi, lo, second)
	return tscZero + q
}

// initClock finds the frequencies of the counters.
func initClock() {
	if max, _, _, _ := cpuid(0, 0); max >= 0x15 {
		if den, num, crystal, _ := cpuid(0x15, 0); den != 0 && num != 0 && crystal != 0 {
			tscHz, tscSource = uint64(crystal)*uint64(num)/uint64(den), "CPUID"
		}
	}
	if _, _, ecx, _ := cpuid(1, 0); tscHz == 0 && ecx>>31 != 0 {
		if max, _, _, _ := cpuid(hypervisorMax, 0); max >= hypervisorMax+0x10 && max < hypervisorMax+0x1000 {
			if khz, _, _, _ := cpuid(hypervisorMax+0x10, 0); khz != 0 {
				tscHz, tscSource = uint64(khz)*1000, "hypervisor"
			}
		}
	}
	if tscHz == 0 || !tscDeadline {
		measure()
	}
	tscZero = rdtsc()
	tscMul, _ = bits.Div64(second>>32, second<<32&(1<<64-1), tscHz)
	wallZero = readRTC() * second
}

// measure counts both counters over a time another clock tells.
func measure() {
	apicWrite(apicInitial, 0xffffffff)
	var t0, t1, ns uint64
	var a0, a1 uint32
	if port := tables.PMTimer; port != 0 {
		const want = pmTimerHz * measureTime / second
		from := in32(port) & 0xffffff
		t0, a0 = rdtsc(), apicRead(apicCurrent)
		d := uint32(0)
		for d < want {
			d = (in32(port) - from) & 0xffffff
		}
		t1, a1 = rdtsc(), apicRead(apicCurrent)
		ns = uint64(d) * second / pmTimerHz
	} else {
		const want = pitHz * measureTime / second
		out8(0x61, in8(0x61)&0xfc|1)
		out8(0x43, 0xb0) // channel 2, mode 0
		out8(0x42, want&0xff)
		out8(0x42, want>>8)
		t0, a0 = rdtsc(), apicRead(apicCurrent)
		for in8(0x61)&0x20 == 0 {
		}
		t1, a1 = rdtsc(), apicRead(apicCurrent)
		ns = measureTime
	}
	apicWrite(apicInitial, 0)
	if tscHz == 0 {
		tscHz, tscSource = (t1-t0)*second/ns, "measured"
	}
	apicMul = uint64(a0-a1) << 32 / ns
}

// setTimer arms the local timer of the CPU that calls.
func setTimer(when int64) {
	switch {
	case tscDeadline && when == 0:
		wrmsr(msrTSCDeadline, 0)
	case tscDeadline:
		wrmsr(msrTSCDeadline, max(tscAt(max(when, 0)), 1))
	case when == 0:
		apicWrite(apicInitial, 0)
	default:
		hi, lo := bits.Mul64(uint64(max(when-now(), 1000)), apicMul)
		n := hi<<32 | lo>>32
		if n > 0xffffffff {
			n = 0xffffffff
		}
		apicWrite(apicInitial, uint32(max(n, 1)))
	}
}

// readRTC reads the date from the real-time clock, in seconds since 1970.
func readRTC() uint64 {
	reg := func(n uint8) uint64 {
		out8(0x70, n)
		return uint64(in8(0x71))
	}
	for spin := 0; reg(0x0a)&0x80 != 0 && spin < 1<<16; spin++ {
	}
	v := [6]uint64{reg(0), reg(2), reg(4), reg(7), reg(8), reg(9)}
	century := reg(0x32)
	b := reg(0x0b)
	pm := v[2]&0x80 != 0
	v[2] &= 0x7f
	if b&4 == 0 { // binary-coded decimal
		for i := range v {
			v[i] = v[i]>>4*10 + v[i]&15
		}
		century = century>>4*10 + century&15
	}
	if b&2 == 0 { // 12 hours
		v[2] %= 12
		if pm {
			v[2] += 12
		}
	}
	if century < 19 || century > 99 {
		century = 20
	}
	year, month := century*100+v[5], v[4]
	// Days since the first of March of year 0, by the usual trick.
	if month <= 2 {
		year--
		month += 12
	}
	days := 365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + v[3] - 1 - 719468
	return days*86400 + v[2]*3600 + v[1]*60 + v[0]
}
