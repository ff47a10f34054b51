package x86

// Feature is a property of the processor that CPUID announces.
type Feature uint8

// FeatureSet is a set of features.
type FeatureSet [2]uint64

// Has reports whether f is in the set. FeatNone is in every set.
func (s FeatureSet) Has(f Feature) bool {
	return f == FeatNone || int(f) < NumFeatures && s[f>>6]>>(f&63)&1 != 0
}

// With returns the set with fs added.
func (s FeatureSet) With(fs ...Feature) FeatureSet {
	for _, f := range fs {
		if f != FeatNone && int(f) < NumFeatures {
			s[f>>6] |= 1 << (f & 63)
		}
	}
	return s
}

// Without returns the set with fs removed.
func (s FeatureSet) Without(fs ...Feature) FeatureSet {
	for _, f := range fs {
		if int(f) < NumFeatures {
			s[f>>6] &^= 1 << (f & 63)
		}
	}
	return s
}

// Reg is a result register of CPUID.
type Reg uint8

// The result registers.
const (
	EAX Reg = iota
	EBX
	ECX
	EDX
)

// CPUIDBit is where CPUID announces a feature.
type CPUIDBit struct {
	Leaf, Subleaf uint32
	Reg           Reg
	Bit           uint8
	Name          string
}

// Bit returns where CPUID announces f.
func (f Feature) Bit() CPUIDBit {
	if int(f) >= NumFeatures {
		return CPUIDBit{}
	}
	return featureBits[f]
}

// String returns the feature's name as Linux's /proc/cpuinfo spells it.
func (f Feature) String() string { return f.Bit().Name }

// The features. Those that no row of the opcode table names change what the
// processor does in other ways.
const (
	FeatNone Feature = iota // the 386's and 486's instructions
	FeatFPU
	FeatVME
	FeatDE
	FeatPSE
	FeatTSC
	FeatMSR
	FeatPAE
	FeatMCE
	FeatCX8
	FeatAPIC
	FeatSEP
	FeatMTRR
	FeatPGE
	FeatMCA
	FeatCMOV
	FeatPAT
	FeatPSE36
	FeatCLFLUSH
	FeatMMX
	FeatFXSR
	FeatSSE
	FeatSSE2
	FeatSSE3
	FeatPCLMULQDQ
	FeatMONITOR
	FeatSSSE3
	FeatFMA
	FeatCX16
	FeatPCID
	FeatSSE41
	FeatSSE42
	FeatX2APIC
	FeatMOVBE
	FeatPOPCNT
	FeatTSCDeadline
	FeatAES
	FeatXSAVE
	FeatAVX
	FeatF16C
	FeatRDRAND
	FeatHypervisor
	FeatFSGSBASE
	FeatTSCAdjust
	FeatBMI1
	FeatAVX2
	FeatSMEP
	FeatBMI2
	FeatERMS
	FeatINVPCID
	FeatRDSEED
	FeatADX
	FeatSMAP
	FeatCLFLUSHOPT
	FeatCLWB
	FeatSHA
	FeatUMIP
	FeatLA57
	FeatRDPID
	FeatFSRM
	FeatArchCapabilities
	FeatARAT
	FeatXSAVEOPT
	FeatXSAVEC
	FeatLAHF64
	FeatLZCNT
	FeatPREFETCHW
	FeatSYSCALL
	FeatNX
	FeatPage1GB
	FeatRDTSCP
	FeatLM
	FeatInvariantTSC

	// NumFeatures is one more than the greatest Feature.
	NumFeatures = int(iota)
)

// featureBits is indexed by Feature.
var featureBits = [NumFeatures]CPUIDBit{
	FeatFPU:              {1, 0, EDX, 0, "fpu"},
	FeatVME:              {1, 0, EDX, 1, "vme"},
	FeatDE:               {1, 0, EDX, 2, "de"},
	FeatPSE:              {1, 0, EDX, 3, "pse"},
	FeatTSC:              {1, 0, EDX, 4, "tsc"},
	FeatMSR:              {1, 0, EDX, 5, "msr"},
	FeatPAE:              {1, 0, EDX, 6, "pae"},
	FeatMCE:              {1, 0, EDX, 7, "mce"},
	FeatCX8:              {1, 0, EDX, 8, "cx8"},
	FeatAPIC:             {1, 0, EDX, 9, "apic"},
	FeatSEP:              {1, 0, EDX, 11, "sep"},
	FeatMTRR:             {1, 0, EDX, 12, "mtrr"},
	FeatPGE:              {1, 0, EDX, 13, "pge"},
	FeatMCA:              {1, 0, EDX, 14, "mca"},
	FeatCMOV:             {1, 0, EDX, 15, "cmov"},
	FeatPAT:              {1, 0, EDX, 16, "pat"},
	FeatPSE36:            {1, 0, EDX, 17, "pse36"},
	FeatCLFLUSH:          {1, 0, EDX, 19, "clflush"},
	FeatMMX:              {1, 0, EDX, 23, "mmx"},
	FeatFXSR:             {1, 0, EDX, 24, "fxsr"},
	FeatSSE:              {1, 0, EDX, 25, "sse"},
	FeatSSE2:             {1, 0, EDX, 26, "sse2"},
	FeatSSE3:             {1, 0, ECX, 0, "pni"},
	FeatPCLMULQDQ:        {1, 0, ECX, 1, "pclmulqdq"},
	FeatMONITOR:          {1, 0, ECX, 3, "monitor"},
	FeatSSSE3:            {1, 0, ECX, 9, "ssse3"},
	FeatFMA:              {1, 0, ECX, 12, "fma"},
	FeatCX16:             {1, 0, ECX, 13, "cx16"},
	FeatPCID:             {1, 0, ECX, 17, "pcid"},
	FeatSSE41:            {1, 0, ECX, 19, "sse4_1"},
	FeatSSE42:            {1, 0, ECX, 20, "sse4_2"},
	FeatX2APIC:           {1, 0, ECX, 21, "x2apic"},
	FeatMOVBE:            {1, 0, ECX, 22, "movbe"},
	FeatPOPCNT:           {1, 0, ECX, 23, "popcnt"},
	FeatTSCDeadline:      {1, 0, ECX, 24, "tsc_deadline_timer"},
	FeatAES:              {1, 0, ECX, 25, "aes"},
	FeatXSAVE:            {1, 0, ECX, 26, "xsave"},
	FeatAVX:              {1, 0, ECX, 28, "avx"},
	FeatF16C:             {1, 0, ECX, 29, "f16c"},
	FeatRDRAND:           {1, 0, ECX, 30, "rdrand"},
	FeatHypervisor:       {1, 0, ECX, 31, "hypervisor"},
	FeatFSGSBASE:         {7, 0, EBX, 0, "fsgsbase"},
	FeatTSCAdjust:        {7, 0, EBX, 1, "tsc_adjust"},
	FeatBMI1:             {7, 0, EBX, 3, "bmi1"},
	FeatAVX2:             {7, 0, EBX, 5, "avx2"},
	FeatSMEP:             {7, 0, EBX, 7, "smep"},
	FeatBMI2:             {7, 0, EBX, 8, "bmi2"},
	FeatERMS:             {7, 0, EBX, 9, "erms"},
	FeatINVPCID:          {7, 0, EBX, 10, "invpcid"},
	FeatRDSEED:           {7, 0, EBX, 18, "rdseed"},
	FeatADX:              {7, 0, EBX, 19, "adx"},
	FeatSMAP:             {7, 0, EBX, 20, "smap"},
	FeatCLFLUSHOPT:       {7, 0, EBX, 23, "clflushopt"},
	FeatCLWB:             {7, 0, EBX, 24, "clwb"},
	FeatSHA:              {7, 0, EBX, 29, "sha_ni"},
	FeatUMIP:             {7, 0, ECX, 2, "umip"},
	FeatLA57:             {7, 0, ECX, 16, "la57"},
	FeatRDPID:            {7, 0, ECX, 22, "rdpid"},
	FeatFSRM:             {7, 0, EDX, 4, "fsrm"},
	FeatArchCapabilities: {7, 0, EDX, 29, "arch_capabilities"},
	FeatARAT:             {6, 0, EAX, 2, "arat"},
	FeatXSAVEOPT:         {0xd, 1, EAX, 0, "xsaveopt"},
	FeatXSAVEC:           {0xd, 1, EAX, 1, "xsavec"},
	FeatLAHF64:           {0x80000001, 0, ECX, 0, "lahf_lm"},
	FeatLZCNT:            {0x80000001, 0, ECX, 5, "abm"},
	FeatPREFETCHW:        {0x80000001, 0, ECX, 8, "3dnowprefetch"},
	FeatSYSCALL:          {0x80000001, 0, EDX, 11, "syscall"},
	FeatNX:               {0x80000001, 0, EDX, 20, "nx"},
	FeatPage1GB:          {0x80000001, 0, EDX, 26, "pdpe1gb"},
	FeatRDTSCP:           {0x80000001, 0, EDX, 27, "rdtscp"},
	FeatLM:               {0x80000001, 0, EDX, 29, "lm"},
	FeatInvariantTSC:     {0x80000007, 0, EDX, 8, "constant_tsc"},
}
