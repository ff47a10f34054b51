package pc64

import (
	"sync/atomic"

	"dfemu/kernel/kern/lwkt"
	"dfemu/kernel/subr/digits"
)

// The console is the 16550 at COM1. The bottom layer writes it byte by byte; what comes in is put into a ring by
// the interrupt.
const (
	com1       = 0x3f8
	uartIER    = 1
	uartFCR    = 2
	uartLCR    = 3
	uartMCR    = 4
	uartLSR    = 5
	uartReady  = 0x01 // LSR: a byte came in
	uartEmpty  = 0x20 // LSR: 16 bytes may be written
	consoleIRQ = 4
)

var (
	consoleLock atomic.Uint32
	consoleRoom int // bytes that may be written before LSR is to be read
	messages    [64 << 10]byte
	messagesEnd uint64 // bytes ever written

	inputRing [16 << 10]byte
	inputHead atomic.Uint32
	inputTail atomic.Uint32
	inputID   uint64 // what readers sleep on: its address
)

// initUART takes the UART over. What was typed before there was a kernel is in it, and is kept: nothing more comes in
// while it is looped back to itself, so that no character falls to the reset of the FIFOs.
func initUART() {
	out8(com1+uartIER, 0)
	out8(com1+uartLCR, 3)
	out8(com1+uartMCR, 0x1b)
	for i := 0; i < 16 && in8(com1+uartLSR)&uartReady != 0; i++ {
		h := inputHead.Load()
		inputRing[h%uint32(len(inputRing))] = in8(com1)
		inputHead.Store(h + 1)
	}
	out8(com1+uartLCR, 0x83)
	out8(com1, 1) // 115200 baud
	out8(com1+1, 0)
	out8(com1+uartLCR, 3)
	out8(com1+uartFCR, 7)
	out8(com1+uartMCR, 0x0b)
}

func lockConsole() {
	for !consoleLock.CompareAndSwap(0, 1) {
		if atomic.LoadInt32(&stopping) != 0 {
			return
		}
		flushIfAsked()
		pause()
	}
}

func unlockConsole() { consoleLock.Store(0) }

// putByte sends a byte; the lock is held.
func putByte(b byte) {
	messages[messagesEnd%uint64(len(messages))] = b
	messagesEnd++
	if b == '\n' {
		uartByte('\r')
	}
	uartByte(b)
}

func uartByte(b byte) {
	if consoleRoom == 0 {
		for spin := 0; in8(com1+uartLSR)&uartEmpty == 0 && spin < 1<<20; spin++ {
			pause()
		}
		consoleRoom = 16
	}
	consoleRoom--
	out8(com1, b)
}

// print writes strings and numbers in hexadecimal from the bottom layer.
func print(s string) {
	lockConsole()
	for i := 0; i < len(s); i++ {
		putByte(s[i])
	}
	unlockConsole()
}

func printHex(v uint64) {
	var b digits.Buffer
	printBytes(digits.Hex(&b, v, 1))
}

func printDec(v uint64) {
	var b digits.Buffer
	printBytes(digits.Dec(&b, v))
}

func printBytes(b []byte) {
	lockConsole()
	for _, c := range b {
		putByte(c)
	}
	unlockConsole()
}

// writeConsole writes n bytes at an address, which may not be there yet.
func writeConsole(a, n uint64) {
	lockConsole()
	for i := range n {
		putByte(load8(a + i))
	}
	unlockConsole()
}

// consoleInterrupt takes in what has come.
func consoleInterrupt(c *lwkt.CPU) {
	got, stop := false, false
	for in8(com1+uartLSR)&uartReady != 0 {
		b := in8(com1)
		if b == breakKey {
			stop = true
			continue
		}
		h := inputHead.Load()
		if h-inputTail.Load() < uint32(len(inputRing)) {
			inputRing[h%uint32(len(inputRing))] = b
			inputHead.Store(h + 1)
		}
		got = true
	}
	if got {
		c.Wakeup(addressOf(&inputID), 0)
	}
	if stop {
		breakIn(c)
	}
}

// takeInput moves input to an address and returns how much there was. Readers are serialized
// by the caller.
func takeInput(a, n uint64) uint64 {
	i := uint64(0)
	for t := inputTail.Load(); i < n && t != inputHead.Load(); t++ {
		store8(a+i, inputRing[t%uint32(len(inputRing))])
		inputTail.Store(t + 1)
		i++
	}
	return i
}
