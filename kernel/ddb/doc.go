// Package ddb is the kernel's debugger. It runs below the Go runtime, with all CPUs standing still: it does not allocate,
// lock or block, and reads only memory that is there. What it looks at is behind a Machine, so that it can be tested
// without one.
package ddb
