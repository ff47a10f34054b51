//go:build !amd64

package main

// The benchmark's guests are amd64; elsewhere the program is only compiled.

func mulAddSSE(a, b, c *float64, n int) {}

func mulAddAVX2(a, b, c *float64, n int) {}

func hasAVX2() bool { return false }
