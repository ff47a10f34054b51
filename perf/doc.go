// Package perf profiles guests: it collects where the processors of a machine
// are ([Collector]), gives the addresses names ([Symbols]) and writes what came
// of it as a pprof profile ([Report.Profile]) or as text ([Report.Text]).
//
// Names come from what a guest is made of: the symbol table that a Linux kernel
// carries for its own use (kallsyms), System.map, the symbol tables of ELF
// files, and the function tables of programs in Go. Stacks come from frame
// pointers, and in Linux kernels without them from the kernel's own unwind
// tables (ORC).
package perf
