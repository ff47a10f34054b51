package selftest

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"dfemu/kernel/kern"
	"dfemu/kernel/platform/pc64"
)

// env is what tests work with.
type env struct {
	k *kern.Kernel
	p *pc64.Platform
}

type test struct {
	name string
	run  func(env) error
}

// all are the tests in the order they run in.
var all = []test{
	{"clock", testClock},
	{"goroutines", testGoroutines},
	{"gc", testGC},
	{"nil", testNil},
	{"preempt", testPreempt},
	{"float", testFloat},
	{"timers", testTimers},
	{"memory", testMemory},
	{"threads", testThreads},
	{"owner", testOwner},
	{"priority", testPriority},
	{"fifo", testFIFO},
	{"slices", testSlices},
	{"woken-first", testWokenFirst},
	{"interrupt-preempts", testInterruptPreempts},
	{"preemption-returns", testPreemptionReturns},
	{"critical", testCritical},
	{"wait-wake", testWaitWake},
	{"eintr", testEINTR},
	{"async-tokens", testAsyncTokens},
	{"async-critical", testAsyncCritical},
	{"storm", testStorm},
	{"token-exclusive", testTokenExclusive},
	{"token-shared", testTokenShared},
	{"token-readers", testTokenReaders},
	{"token-recursive", testTokenRecursive},
	{"token-deadlock", testTokenDeadlock},
	{"token-blocks", testTokenBlocks},
	{"token-collisions", testTokenCollisions},
	{"ipi", testIPI},
	{"ipi-count", testIPICount},
	{"quiesce", testQuiesce},
	{"calls", testCalls},
	{"dma", testDMA},
	{"guards", func(env) error { return pc64.TestGuards() }},
	{"protection", func(env) error { return pc64.TestProtection() }},
	{"token-pool", testTokenPool},
	{"slab", testSlab},
	{"bytes", testBytes},
	{"objcache", testCache},
	{"msgport", testPorts},
	{"msgport-sync", testPortSync},
	{"msgport-ipi", testPortIPI},
	{"passive", testPassive},
	{"pids", testPIDs},
}

// Test is a test of another part of the kernel.
type Test struct {
	Name string
	Run  func() error
}

// Run runs tests by name and prints a line for each. Without names, or for "all", it runs
// all, then those of other parts. A name with a hyphen before it is left out.
func Run(w io.Writer, k *kern.Kernel, p *pc64.Platform, names []string, more ...Test) error {
	e := env{k, p}
	failed, ran := 0, 0
	tests := all[:len(all):len(all)]
	for _, t := range more {
		tests = append(tests, test{t.Name, func(env) error { return t.Run() }})
	}
	for _, n := range names {
		if n != "all" && !slices.ContainsFunc(tests, func(t test) bool { return t.name == strings.TrimPrefix(n, "-") }) {
			fmt.Fprintf(w, "FAIL %s: no such test\n", n)
			failed++
			ran++
		}
	}
	for _, t := range tests {
		wanted := len(names) == 0 || slices.Contains(names, "all") || slices.Contains(names, t.name)
		if !wanted || slices.Contains(names, "-"+t.name) {
			continue
		}
		ran++
		start := time.Now()
		if err := protect(t.run, e); err != nil {
			failed++
			fmt.Fprintf(w, "FAIL %s: %s\n", t.name, strings.ReplaceAll(err.Error(), "\n", "; "))
			continue
		}
		fmt.Fprintf(w, "PASS %s (%v)\n", t.name, time.Since(start).Round(time.Microsecond))
	}
	fmt.Fprintf(w, "selftest: %d of %d passed\n", ran-failed, ran)
	return nil
}

// protect turns a panic of a test into its failure.
func protect(f func(env) error, e env) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f(e)
}

// inThread runs f in a kernel thread and waits for it.
func (e env) inThread(a kern.ThreadAttr, f func() error) error {
	var err error
	e.k.Start(a, func() { err = f() }).Join()
	return err
}
