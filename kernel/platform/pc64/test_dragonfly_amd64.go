package pc64

import (
	"fmt"
	"sync/atomic"

	"dfemu/kernel/kern/lwkt"
)

// What the self-tests ask of the bottom layer.
const (
	testIPISend = iota // send b messages to CPU a and wait for the last
	testIPIAll         // call all CPUs and wait
	testCR4            // its value
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
	case testCR4:
		x.ax = getCR4()
		return
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

// TestConsoleReaders lists the threads that sleep until there is input.
func TestConsoleReaders() (ids []int) {
	for i := 1; i < system.Threads(); i++ {
		id := lwkt.ThreadID(i)
		if t := system.Thread(id); t.Used() && !t.Idle() && contextOf(id).asleep == sysRead {
			ids = append(ids, i)
		}
	}
	return ids
}

// TestReadRestarts is how many reads of the console were made again after a signal.
func TestReadRestarts() uint64 { return readRestarts.Load() }

// Yield lets other threads of the calling thread's CPU and priority run.
func Yield() { kcall(kernelYield, 0, 0, 0) }

// TestGuards tells which stack of a processor has no page below it that is missed when the stack overflows.
func TestGuards() error {
	for i := range ncpu {
		a := percpuOf(i).self
		for _, g := range areaGuards {
			if mapped(a+g) || !mapped(a+g+pageSize) || !mapped(a+g-1) {
				return fmt.Errorf("cpu%d: the page at %#x of its area is there, or those beside it are not", i, g)
			}
		}
	}
	return nil
}

// TestProtection tells what of the kernel's pages is not protected as it should be: none is both written and executed, none
// is a program's, nothing is at 0, and the processor sees to it.
func TestProtection() error {
	if mapped(0) || mapped(pageSize) {
		return fmt.Errorf("there is memory at address 0")
	}
	if _, err := testTable(rootPT, 4, 0, true); err != nil {
		return err
	}
	cr4, err := kcall(kernelTest, testCR4, 0, 0)
	if _, ebx, _, _ := cpuid(7, 0); err || uint64(ebx)>>7&1 != cr4>>20&1 || uint64(ebx)>>20&1 != cr4>>21&1 {
		return fmt.Errorf("CR4 is %#x: SMEP or SMAP is off", cr4)
	}
	return nil
}

// testTable looks at a page table and those below it, from address va on, where pages may be written.
func testTable(table uint64, level int, va uint64, write bool) (n int, err error) {
	for i := range uint64(512) {
		v := load64(directMap + table + i*8)
		if v&ptePresent == 0 {
			continue
		}
		at, w := va+i<<(12+9*(level-1)), write && v&pteWrite != 0
		switch {
		case v&pteUser != 0:
			return n, fmt.Errorf("the page at %#x is a program's", at)
		case level == 1 || v&pteLarge != 0:
			if n++; w && v&pteNX == 0 {
				return n, fmt.Errorf("the page at %#x can be written and executed", at)
			}
		default:
			m, err := testTable(v&pteAddr, level-1, at, w)
			if n += m; err != nil {
				return n, err
			}
		}
	}
	return n, nil
}
