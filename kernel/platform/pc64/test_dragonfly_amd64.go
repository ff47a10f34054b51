package pc64

import (
	"sync/atomic"

	"dfemu/kernel/kern/lwkt"
)

// What the self-tests ask of the bottom layer.
const (
	testIPISend = iota // send b messages to CPU a and wait for the last
	testIPIAll         // call all CPUs and wait
	testQuiesce        // make all other CPUs stand still, look, and let them go
)

// testCount is changed by testIPI; testHolds is how many CPUs stood still at once.
var testCount atomic.Uint64

func testIPI(_ *lwkt.CPU, n, _ uint64) { testCount.Add(n) }

func test(_ *percpu, c *lwkt.CPU, x *context) {
	others := func(cpu int) bool { return cpu < ncpu && percpuOf(cpu).up != 0 }
	switch x.di {
	case testIPISend:
		seq := uint32(0)
		for range x.dx {
			seq = c.Send(int(x.si), ipiTest, 1, 0)
		}
		c.Wait(int(x.si), seq)
	case testIPIAll:
		c.CallAll(others, ipiTest, 1)
	case testQuiesce:
		c.Quiesce(others)
		before := testCount.Load()
		for range 1000 {
			pause()
		}
		x.ax = testCount.Load() - before
		c.Unquiesce(ipiTest, 1)
		return
	}
	x.ax = 0
}

// TestIPI sends n messages to a CPU and returns when all have been executed.
func TestIPI(cpu, n int) { kcall(kernelTest, testIPISend, uint64(cpu), uint64(n)) }

// TestIPIAll executes one message on each CPU.
func TestIPIAll() { kcall(kernelTest, testIPIAll, 0, 0) }

// TestQuiesce makes the other CPUs stand still and returns how many messages they executed meanwhile.
func TestQuiesce() int {
	n, _ := kcall(kernelTest, testQuiesce, 0, 0)
	return int(n)
}

// TestMessages is how many messages the tests' function has received.
func TestMessages() uint64 { return testCount.Load() }
