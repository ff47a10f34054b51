// Package ticks converts between nanoseconds and the ticks of an oscillator in
// exact integer arithmetic, so that a timer that is re-armed for ever does not
// drift and a counter that is read never disagrees with the timer's interrupt.
package ticks

import (
	"math"
	"math/bits"
)

const second = 1_000_000_000

// At returns how many whole periods of an oscillator of hz Hertz fit into ns
// nanoseconds. Negative times count as 0.
func At(ns int64, hz uint64) int64 {
	if ns <= 0 {
		return 0
	}
	return muldiv(uint64(ns), hz, second, 0)
}

// Ns returns the first nanosecond at which At reports n ticks: the inverse of
// At, rounded up. Results beyond the clock's range saturate.
func Ns(n int64, hz uint64) int64 {
	if n <= 0 {
		return 0
	}
	return muldiv(uint64(n), second, hz, hz-1)
}

// muldiv is (a*b+add)/c, saturated to the range of int64.
func muldiv(a, b, c, add uint64) int64 {
	hi, lo := bits.Mul64(a, b)
	lo, carry := bits.Add64(lo, add, 0)
	hi += carry
	if hi >= c {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, c)
	return int64(min(q, math.MaxInt64))
}
