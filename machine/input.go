package machine

import (
	"io"
	"sync"

	"dfemu/devices"
)

// input carries characters from the host to a device. It waits for room in the
// device, never the other way round.
type input struct {
	dev   devices.Receiver
	space chan struct{} // capacity 1
	done  chan struct{}
	once  sync.Once
}

// newInput starts to read r. The goroutine ends when r does; one that waits in
// a read which nothing ends stays until the process does.
func newInput(r io.Reader, dev devices.Receiver) *input {
	in := &input{dev: dev, space: make(chan struct{}, 1), done: make(chan struct{})}
	dev.OnSpace(func() {
		select {
		case in.space <- struct{}{}:
		default:
		}
	})
	go in.pump(r)
	return in
}

func (in *input) pump(r io.Reader) {
	buf := make([]byte, 256)
	for {
		n, err := r.Read(buf)
		for p := buf[:n]; len(p) > 0; {
			p = p[in.dev.Receive(p):]
			if len(p) == 0 {
				break
			}
			select {
			case <-in.space:
			case <-in.done:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// close makes the device hear no more.
func (in *input) close() { in.once.Do(func() { close(in.done) }) }
