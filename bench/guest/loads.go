package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"io"
	"math"
	"slices"
)

// workload is one row of the benchmark.
type workload struct {
	name string
	// setup returns what runs n operations, and what cleans up (or nil).
	setup func() (run func(n int), stop func(), err error)
	// supported reports whether the processor can do it; nil: all can.
	supported func() bool
}

// workloads are all rows, in the order in which they run.
var workloads = []workload{
	{name: "int", setup: plain(integer)},
	{name: "sha256", setup: setupSHA256},
	{name: "gzip", setup: setupGzip},
	{name: "sort", setup: setupSort},
	{name: "float", setup: plain(float)},
	{name: "sse", setup: setupSIMD(mulAddSSE)},
	{name: "avx2", setup: setupSIMD(mulAddAVX2), supported: hasAVX2},
	{name: "syscall", setup: setupSyscall},
	{name: "fork", setup: setupFork},
	{name: "pipe", setup: setupPipe},
	{name: "fault", setup: setupFault},
	{name: "go", setup: plain(goProgram)},
}

func plain(run func(n int)) func() (func(int), func(), error) {
	return func() (func(int), func(), error) { return run, nil, nil }
}

// sink keeps results alive.
var sink uint64

// random is a xorshift generator.
type random uint64

func (r *random) next() uint64 {
	x := uint64(*r)
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	*r = random(x)
	return x
}

// integer: one operation is a thousand rounds of multiplying, shifting, adding
// and a branch that is hard to foresee.
func integer(n int) {
	r := random(88172645463325252)
	sum := sink
	for range n {
		for range 1000 {
			x := r.next()
			if x&3 == 0 {
				sum += x * 0x9e3779b97f4a7c15
			} else {
				sum = sum<<5 | sum>>59
			}
		}
	}
	sink = sum
}

// setupSHA256: one operation hashes 4 KiB. The program is built with the tag
// purego, so that this is integer code on every processor.
func setupSHA256() (func(int), func(), error) {
	buf := text(4 << 10)
	return func(n int) {
		for range n {
			s := sha256.Sum256(buf)
			buf[0] = s[0]
		}
	}, nil, nil
}

// setupGzip: one operation compresses 64 KiB of words.
func setupGzip() (func(int), func(), error) {
	buf := text(64 << 10)
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	return func(n int) {
		for range n {
			out.Reset()
			w.Reset(&out)
			_, _ = io.Copy(w, bytes.NewReader(buf))
			_ = w.Close()
			sink += uint64(out.Len())
		}
	}, nil, nil
}

// text returns n bytes of made-up words.
func text(n int) []byte {
	r := random(42)
	words := make([]string, 500)
	for i := range words {
		w := make([]byte, 2+r.next()%8)
		for j := range w {
			w[j] = byte('a' + r.next()%26)
		}
		words[i] = string(w)
	}
	var p []byte
	for len(p) < n {
		i := r.next() % 500 * (r.next() % 500) / 500
		p = append(append(p, words[i]...), ' ')
	}
	return p[:n]
}

// setupSort: one operation sorts 10,000 random numbers.
func setupSort() (func(int), func(), error) {
	src := make([]uint64, 10000)
	r := random(7)
	for i := range src {
		src[i] = r.next()
	}
	buf := make([]uint64, len(src))
	return func(n int) {
		for range n {
			copy(buf, src)
			slices.Sort(buf)
			sink += buf[0]
		}
	}, nil, nil
}

// float: one operation is a thousand steps of a planet around a star, in scalar
// double precision.
func float(n int) {
	x, y, vx, vy := 1.0, 0.0, 0.0, 1.0
	const dt = 1e-3
	for range n {
		for range 1000 {
			r2 := x*x + y*y
			k := dt / (r2 * math.Sqrt(r2))
			vx -= k * x
			vy -= k * y
			x += dt * vx
			y += dt * vy
		}
	}
	sink += math.Float64bits(x + y)
}

// setupSIMD: one operation computes a = a*b + c over 1024 double-precision
// elements, 16 times.
func setupSIMD(kernel func(a, b, c *float64, n int)) func() (func(int), func(), error) {
	return func() (func(int), func(), error) {
		a, b, c := make([]float64, 1024), make([]float64, 1024), make([]float64, 1024)
		for i := range a {
			a[i], b[i], c[i] = float64(i), 0.5, 1
		}
		return func(n int) {
			for range n {
				for range 16 {
					kernel(&a[0], &b[0], &c[0], len(a))
				}
			}
			sink += math.Float64bits(a[1])
		}, nil, nil
	}
}
