package machine

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// panicGrace is how long a guest may go on printing after the first line of a
// panic before it is stopped.
const panicGrace = time.Second

// panicWatch passes a console's output through and looks for the lines in
// which Linux reports a panic.
type panicWatch struct {
	out    io.Writer
	report func(message string)

	mu      sync.Mutex
	line    []byte // what has come of the present line
	message string
}

var (
	panicStart = []byte("Kernel panic - not syncing")
	panicEnd   = []byte("end Kernel panic - not syncing")
)

// Write implements io.Writer. It never fails: a console that cannot be
// written to does not concern the guest.
func (w *panicWatch) Write(p []byte) (int, error) {
	if w.out != nil {
		_, _ = w.out.Write(p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range p {
		if b != '\n' && b != '\r' {
			if len(w.line) < 512 {
				w.line = append(w.line, b)
			}
			continue
		}
		w.check()
		w.line = w.line[:0]
	}
	return len(p), nil
}

// check looks at a complete line.
func (w *panicWatch) check() {
	line := w.line
	// Time stamps and caller ids come first, in brackets.
	for len(line) > 0 && line[0] == '[' {
		end := bytes.IndexByte(line, ']')
		if end < 0 {
			return
		}
		line = bytes.TrimLeft(line[end+1:], " ")
	}
	switch {
	case bytes.HasPrefix(line, []byte("---[ ")) && bytes.Contains(line, panicEnd) && w.message != "":
		w.report(w.message)
	case bytes.HasPrefix(line, panicStart) && w.message == "":
		w.message = string(line)
		message := w.message
		time.AfterFunc(panicGrace, func() { w.report(message) })
	}
}
