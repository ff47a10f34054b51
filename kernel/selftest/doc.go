// Package selftest tests the running kernel: the Go runtime on it, and the promises of LWKT.
package selftest
