package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"dfemu/machine"

	"golang.org/x/term"
)

// escape is Ctrl-A, which starts the console's own keys.
const escape = 1

const escapeHelp = "\r\n" +
	"Ctrl-A x  stop the machine          Ctrl-A p  press the power button\r\n" +
	"Ctrl-A r  reset the machine         Ctrl-A s  show counters\r\n" +
	"Ctrl-A h  this help                 Ctrl-A Ctrl-A  send Ctrl-A to the guest\r\n"

// console is the user's end of a serial port: a terminal in raw mode with keys
// of its own, or just standard input and output.
type console struct {
	in       *os.File
	out, err io.Writer
	used     bool // some serial port is connected to it

	mu    sync.Mutex
	m     *machine.Machine
	saved *term.State // of the terminal, while it is in raw mode
}

func newConsole(in *os.File, out, err io.Writer) *console {
	return &console{in: in, out: out, err: err}
}

// attach puts a terminal into raw mode.
func (c *console) attach(m *machine.Machine) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m = m
	if !c.used || !term.IsTerminal(int(c.in.Fd())) {
		return nil
	}
	saved, err := term.MakeRaw(int(c.in.Fd()))
	if err != nil {
		return fmt.Errorf("put the terminal into raw mode: %w", err)
	}
	c.saved = saved
	return nil
}

// detach restores the terminal. It may be called more than once.
func (c *console) detach() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.saved != nil {
		// There is nothing to do about a terminal that has gone.
		_ = term.Restore(int(c.in.Fd()), c.saved)
		c.saved = nil
	}
}

// reader returns what the guest is to hear: standard input, on a terminal
// without the console's own keys.
func (c *console) reader() io.Reader {
	if !term.IsTerminal(int(c.in.Fd())) {
		return c.in
	}
	return &keys{c: c}
}

// keys filters the console's own keys out of a terminal's input.
type keys struct {
	c       *console
	escaped bool
}

// Read implements io.Reader.
func (k *keys) Read(p []byte) (int, error) {
	for {
		n, err := k.c.in.Read(p)
		out := 0
		for _, b := range p[:n] {
			switch {
			case k.escaped:
				k.escaped = false
				if b == escape {
					p[out] = b
					out++
				} else {
					k.c.key(b)
				}
			case b == escape:
				k.escaped = true
			default:
				p[out] = b
				out++
			}
		}
		if out > 0 || err != nil {
			return out, err
		}
	}
}

// key does what a key after Ctrl-A asks for.
func (c *console) key(b byte) {
	c.mu.Lock()
	m := c.m
	c.mu.Unlock()
	if m == nil {
		return
	}
	switch b {
	case 'x', 'X':
		m.Stop()
	case 'r':
		m.Reset()
	case 'p':
		m.PowerButton()
	case 's':
		s := m.Stats()
		fmt.Fprintf(c.err, "\r\n%d instructions, %d exits, %d blocks decoded\r\n", s.Instructions, s.Exits, s.Blocks)
	default:
		io.WriteString(c.err, escapeHelp)
	}
}
