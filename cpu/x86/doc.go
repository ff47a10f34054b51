// Package x86 holds the facts of the instruction set that the processors
// share: architectural state and its bits, the opcode table, the decoder and
// encoder made from it, a formatter for traces, and CPUID.
//
// The instruction set is x86-64-v3 with AES, PCLMULQDQ, SHA, ADX, RDRAND,
// RDSEED, XSAVE, FSGSBASE and the like: what DefaultFeatures lists. It follows
// Intel's Software Developer's Manual ("SDM") where Intel and AMD differ.
package x86
