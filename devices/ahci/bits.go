package ahci

import "dfemu/devices"

// Offsets of the generic host control registers (AHCI 1.3.1, section 3.1).
const (
	regCAP      = 0x00
	regGHC      = 0x04
	regIS       = 0x08
	regPI       = 0x0c
	regVS       = 0x10
	regCCCCtl   = 0x14
	regCCCPorts = 0x18
	regEMLoc    = 0x1c
	regEMCtl    = 0x20
	regCAP2     = 0x24
	regBOHC     = 0x28

	portBase   = 0x100
	portStride = 0x80
)

// Offsets of the port registers (section 3.3).
const (
	pxCLB    = 0x00
	pxCLBU   = 0x04
	pxFB     = 0x08
	pxFBU    = 0x0c
	pxIS     = 0x10
	pxIE     = 0x14
	pxCMD    = 0x18
	pxTFD    = 0x20
	pxSIG    = 0x24
	pxSSTS   = 0x28
	pxSCTL   = 0x2c
	pxSERR   = 0x30
	pxSACT   = 0x34
	pxCI     = 0x38
	pxSNTF   = 0x3c
	pxFBS    = 0x40
	pxDEVSLP = 0x44
	pxVS     = 0x70
)

// version is AHCI 1.3.1.
const version = 0x00010301

// Bits of CAP (section 3.1.1).
const (
	capCCCS  = 1 << 7
	capPSC   = 1 << 13
	capSSC   = 1 << 14
	capPMD   = 1 << 15
	capFBSS  = 1 << 16
	capSPM   = 1 << 17
	capSAM   = 1 << 18
	capSCLO  = 1 << 24
	capSAL   = 1 << 25
	capSALP  = 1 << 26
	capSSS   = 1 << 27
	capSSNTF = 1 << 29
	capSNCQ  = 1 << 30
	capS64A  = 1 << 31
)

// Bits of CAP2 (section 3.1.10).
const (
	cap2BOH  = 1 << 0
	cap2APST = 1 << 2
)

// Bits of GHC (section 3.1.2).
const (
	ghcHR   = 1 << 0
	ghcIE   = 1 << 1
	ghcMRSM = 1 << 2
	ghcAE   = 1 << 31
)

// Bits of BOHC (section 3.1.11).
const (
	bohcBOS  = 1 << 0
	bohcOOS  = 1 << 1
	bohcSOOE = 1 << 2
	bohcOOC  = 1 << 3
	bohcBB   = 1 << 4
)

// Bits of CCC_CTL (section 3.1.6).
const cccEN = 1 << 0

// Bits of PxIS and PxIE (section 3.3.5).
const (
	isDHRS = 1 << 0
	isPSS  = 1 << 1
	isDSS  = 1 << 2
	isSDBS = 1 << 3
	isUFS  = 1 << 4
	isDPS  = 1 << 5
	isPCS  = 1 << 6
	isPRCS = 1 << 22
	isOFS  = 1 << 24
	isIFS  = 1 << 27
	isHBFS = 1 << 29
	isTFES = 1 << 30

	isFromSERR = isUFS | isPCS | isPRCS // reflect PxSERR.DIAG
	isAll      = 0xfdc000ff
)

// Bits of PxCMD (section 3.3.7).
const (
	cmdST    = 1 << 0
	cmdSUD   = 1 << 1
	cmdPOD   = 1 << 2
	cmdCLO   = 1 << 3
	cmdFRE   = 1 << 4
	cmdCCS   = 0x1f << 8
	cmdFR    = 1 << 14
	cmdCR    = 1 << 15
	cmdPMA   = 1 << 17
	cmdHPCP  = 1 << 18
	cmdFBSCP = 1 << 22
	cmdAPSTE = 1 << 23
	cmdATAPI = 1 << 24
	cmdDLAE  = 1 << 25
	cmdALPE  = 1 << 26
	cmdASP   = 1 << 27
	cmdICC   = 0xf << 28

	cmdPlain = cmdAPSTE | cmdATAPI | cmdDLAE | cmdALPE | cmdASP // bits with no effect when written
)

// Interface states in PxCMD.ICC and PxSSTS.IPM.
const (
	ipmActive  = 1
	ipmPartial = 2
	ipmSlumber = 6
)

// Bits of PxSERR (section 3.3.12).
const (
	serrN = 1 << 16 // PhyRdy changed
	serrW = 1 << 18 // Comm Wake
	serrH = 1 << 22 // handshake error
	serrF = 1 << 25 // unknown FIS type
	serrX = 1 << 26 // exchanged

	serrAll = 0x07ff0f03
)

// Bits of PxFBS (section 3.3.16).
const (
	fbsEN  = 1 << 0
	fbsDEC = 1 << 1
	fbsSDE = 1 << 2
	fbsDEV = 0xf << 8
	fbsDWE = 0xf << 16
	fbsADO = 15 << 12 // devices the adapter works with at a time
)

// Device detection in PxSSTS.DET and PxSCTL.DET.
const (
	detNone    = 0
	detPresent = 3
	detOffline = 4

	sctlCOMRESET = 1
)

// Signatures in PxSIG.
const (
	sigNone = 0xffffffff
	sigPM   = 0x96690101
)

// newBank returns the register table of an adapter.
func newBank(name string, ports int) *devices.Bank {
	f := func(name string, lo, hi uint8) devices.Field { return devices.Field{Name: name, Lo: lo, Hi: hi} }
	b := func(name string, bit uint8) devices.Field { return devices.Field{Name: name, Lo: bit, Hi: bit} }
	interrupts := func(s string) []devices.Field {
		l := []devices.Field{b("DHR"+s, 0), b("PS"+s, 1), b("DS"+s, 2), b("SDB"+s, 3), b("UF"+s, 4), b("DP"+s, 5), b("PC"+s, 6), b("DMP"+s, 7),
			b("PRC"+s, 22), b("IPM"+s, 23), b("OF"+s, 24), b("INF"+s, 26), b("IF"+s, 27), b("HBD"+s, 28), b("HBF"+s, 29), b("TFE"+s, 30), b("CPD"+s, 31)}
		return l
	}
	regs := []devices.Register{
		// CAP, PI and CAP2 are HwInit: firmware and drivers write back what they read.
		{Offset: regCAP, Size: 4, Name: "CAP", Fields: []devices.Field{f("NP", 0, 4), b("SXS", 5), b("EMS", 6), b("CCCS", 7), f("NCS", 8, 12), b("PSC", 13),
			b("SSC", 14), b("PMD", 15), b("FBSS", 16), b("SPM", 17), b("SAM", 18), f("ISS", 20, 23), b("SCLO", 24), b("SAL", 25), b("SALP", 26), b("SSS", 27),
			b("SMPS", 28), b("SSNTF", 29), b("SNCQ", 30), b("S64A", 31)}},
		{Offset: regGHC, Size: 4, Name: "GHC", Fields: []devices.Field{b("HR", 0), b("IE", 1), b("MRSM", 2), b("AE", 31)}},
		{Offset: regIS, Size: 4, Name: "IS", Fields: []devices.Field{f("IPS", 0, 31)}},
		{Offset: regPI, Size: 4, Name: "PI", Fields: []devices.Field{f("PI", 0, 31)}},
		{Offset: regVS, Size: 4, Name: "VS", Rights: devices.RO, Fields: []devices.Field{f("MNR", 0, 15), f("MJR", 16, 31)}},
		{Offset: regCCCCtl, Size: 4, Name: "CCC_CTL", Fields: []devices.Field{b("EN", 0), f("INT", 3, 7), f("CC", 8, 15), f("TV", 16, 31)}},
		{Offset: regCCCPorts, Size: 4, Name: "CCC_PORTS", Fields: []devices.Field{f("PRT", 0, 31)}},
		{Offset: regEMLoc, Size: 4, Name: "EM_LOC", Rights: devices.RO},
		{Offset: regEMCtl, Size: 4, Name: "EM_CTL", Rights: devices.RO},
		{Offset: regCAP2, Size: 4, Name: "CAP2", Fields: []devices.Field{b("BOH", 0), b("NVMP", 1), b("APST", 2), b("SDS", 3), b("SADM", 4), b("DESO", 5)}},
		{Offset: regBOHC, Size: 4, Name: "BOHC", Fields: []devices.Field{b("BOS", 0), b("OOS", 1), b("SOOE", 2), b("OOC", 3), b("BB", 4)}},
	}
	port := func(off uint64, name string, rights devices.Rights, fields ...devices.Field) {
		regs = append(regs, devices.Register{Offset: portBase + off, Size: 4, Name: name, Rights: rights, Count: ports, Stride: portStride, Fields: fields})
	}
	port(pxCLB, "PxCLB", devices.RW, f("CLB", 10, 31))
	port(pxCLBU, "PxCLBU", devices.RW, f("CLBU", 0, 31))
	port(pxFB, "PxFB", devices.RW, f("FB", 8, 31))
	port(pxFBU, "PxFBU", devices.RW, f("FBU", 0, 31))
	port(pxIS, "PxIS", devices.RW, interrupts("S")...)
	port(pxIE, "PxIE", devices.RW, interrupts("E")...)
	port(pxCMD, "PxCMD", devices.RW, b("ST", 0), b("SUD", 1), b("POD", 2), b("CLO", 3), b("FRE", 4), f("CCS", 8, 12), b("MPSS", 13), b("FR", 14), b("CR", 15),
		b("CPS", 16), b("PMA", 17), b("HPCP", 18), b("MPSP", 19), b("CPD", 20), b("ESP", 21), b("FBSCP", 22), b("APSTE", 23), b("ATAPI", 24), b("DLAE", 25),
		b("ALPE", 26), b("ASP", 27), f("ICC", 28, 31))
	port(pxTFD, "PxTFD", devices.RO, b("ERR", 0), b("DRQ", 3), b("BSY", 7), f("STS", 0, 7), f("ERROR", 8, 15))
	port(pxSIG, "PxSIG", devices.RO, f("SIG", 0, 31))
	port(pxSSTS, "PxSSTS", devices.RO, f("DET", 0, 3), f("SPD", 4, 7), f("IPM", 8, 11))
	port(pxSCTL, "PxSCTL", devices.RW, f("DET", 0, 3), f("SPD", 4, 7), f("IPM", 8, 11), f("SPM", 12, 15), f("PMP", 16, 19))
	port(pxSERR, "PxSERR", devices.RW, f("ERR", 0, 15), f("DIAG", 16, 31))
	port(pxSACT, "PxSACT", devices.RW, f("DS", 0, 31))
	port(pxCI, "PxCI", devices.RW, f("CI", 0, 31))
	port(pxSNTF, "PxSNTF", devices.RW, f("PMN", 0, 15))
	port(pxFBS, "PxFBS", devices.RW, b("EN", 0), b("DEC", 1), b("SDE", 2), f("DEV", 8, 11), f("ADO", 12, 15), f("DWE", 16, 19))
	port(pxDEVSLP, "PxDEVSLP", devices.RO)
	port(pxVS, "PxVS", devices.RO)
	for i := range regs {
		regs[i].Reserved = reserved(&regs[i])
		regs[i].Doorbell = regs[i].Name == "PxCI"
	}
	return devices.NewBank(name, regs).With(devices.Rules{Clause: "AHCI 1.3.1, 3"})
}

// reserved are the bits of a register that have no name: they are to be written as 0. What is cleared by writing ones may
// be cleared as a whole.
func reserved(r *devices.Register) uint64 {
	if r.Rights != devices.RW || r.Name == "PxIS" || r.Name == "PxSERR" {
		return 0
	}
	v := uint64(1<<32 - 1)
	for _, f := range r.Fields {
		v &^= (1<<(f.Hi-f.Lo+1) - 1) << f.Lo
	}
	return v
}
