package pc64

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"dfemu/kernel/kern/entropy"
)

// The random source behind /dev/urandom, which the Go runtime and crypto/rand read. At the start it has the clocks and, if there is one, the
// processor's generator; drivers of entropy devices feed it.
var (
	randomLock atomic.Uint32
	randomPool entropy.Pool
	hasRDRAND  bool
)

// maxEntropy is how much is added at a time.
const maxEntropy = 256

func rdrand() (v uint64, ok bool)

func lockRandom() {
	for !randomLock.CompareAndSwap(0, 1) {
		flushIfAsked()
		pause()
	}
}

// initRandom gives the source what there is at the start.
func initRandom() {
	_, _, ecx, _ := cpuid(1, 0)
	hasRDRAND = ecx>>30&1 != 0
	addWords(rdtsc(), wallZero, bootTSC)
	for range 8 {
		stir()
	}
}

// addWords adds words to the pool.
func addWords(words ...uint64) {
	lockRandom()
	for _, w := range words {
		var b [8]byte
		for i := range b {
			b[i] = byte(w >> (8 * i))
		}
		randomPool.Add(b[:])
	}
	randomLock.Store(0)
}

// stir adds the time-stamp counter and, where the processor has a generator, a word of that.
func stir() {
	v := uint64(0)
	for try := 0; hasRDRAND && try < 10; try++ {
		w, ok := rdrand()
		if ok {
			v = w
			break
		}
	}
	addWords(rdtsc(), v)
}

// fillRandom writes n random bytes to memory that may not be there yet.
func fillRandom(a, n uint64) {
	stir()
	for n > 0 {
		var b [64]byte
		m := min(n, uint64(len(b)))
		lockRandom()
		randomPool.Read(b[:m])
		randomLock.Store(0)
		for i := range m {
			store8(a+i, b[i])
		}
		a, n = a+m, n-m
	}
}

// takeEntropy adds n bytes at an address.
func takeEntropy(a, n uint64) {
	var b [maxEntropy]byte
	n = min(n, maxEntropy)
	for i := range n {
		b[i] = load8(a + i)
	}
	lockRandom()
	randomPool.Add(b[:n])
	randomLock.Store(0)
}

// AddEntropy mixes bytes into the kernel's random source, behind which they cannot be found again.
func AddEntropy(b []byte) {
	for len(b) > 0 {
		n := min(len(b), maxEntropy)
		kcall(kernelEntropy, uint64(uintptr(unsafe.Pointer(&b[0]))), uint64(n), 0)
		runtime.KeepAlive(b)
		b = b[n:]
	}
}

// Entropy tells how many bytes the random source was given, and whether the processor's generator is among who gave them.
func Entropy() (bytes uint64, rdrand bool) {
	n, _ := kcall(kernelEntropy, 0, 0, 0)
	return n, hasRDRAND
}
