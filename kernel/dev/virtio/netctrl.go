package virtio

import (
	"errors"
	"fmt"
	"sync"

	"dfemu/kernel/kern"
)

// Commands of the control queue (5.1.6.5).
const (
	netClassMQ  = 4
	netSetPairs = 0

	netAckOK       = 0
	netAckNone     = 0xff // not what a device answers
	netControlSize = 16   // entries of the queue
	netMaxData     = 1024
	netAckOffset   = 2048
)

var errReset = errors.New("the device was reset meanwhile")

// netControl is the control queue. It has one command at a time.
type netControl struct {
	n    *nic
	q    *queue
	mem  kern.DMA
	dead bool // the device does not answer

	one     sync.Mutex // held by who has a command
	mu      sync.Mutex
	current *netCommand
}

// netCommand is a command that waits for its answer.
type netCommand struct {
	done *kern.Event
	err  error
}

func newNetControl(n *nic) (*netControl, error) {
	mem, err := n.v.k.AllocDMA(4096, 4096, 0)
	return &netControl{n: n, mem: mem}, err
}

// command sends a command and waits until the device has obeyed. A device that does not answer is not asked again: the memory stays its.
func (c *netControl) command(class, cmd uint8, data []byte) error {
	if len(data) > netMaxData {
		return fmt.Errorf("command %d.%d: %d bytes are too many", class, cmd, len(data))
	}
	c.one.Lock()
	defer c.one.Unlock()
	if c.dead {
		return fmt.Errorf("command %d.%d: the device has not answered before", class, cmd)
	}
	b := c.mem.Bytes
	b[0], b[1] = class, cmd
	copy(b[2:], data)
	b[netAckOffset] = netAckNone
	t := &netCommand{done: c.n.v.k.NewEvent()}
	c.mu.Lock()
	c.current = t
	c.mu.Unlock()
	if !c.q.put(t, buffer{c.mem.Phys, uint32(2 + len(data)), false}, buffer{c.mem.Phys + netAckOffset, 1, true}) {
		return fmt.Errorf("command %d.%d: the control queue is full", class, cmd)
	}
	c.q.kick()
	switch {
	case !t.done.Wait(c.n.timeout):
		c.dead = true
		return fmt.Errorf("command %d.%d: the device does not answer", class, cmd)
	case t.err != nil:
		return fmt.Errorf("command %d.%d: %w", class, cmd, t.err)
	case b[netAckOffset] != netAckOK:
		return fmt.Errorf("command %d.%d: the device refuses, with %d", class, cmd, b[netAckOffset])
	}
	return nil
}

// done takes answers.
func (c *netControl) done() {
	c.mu.Lock()
	q := c.q
	c.mu.Unlock()
	for q != nil {
		t, _, ok := q.take()
		if !ok {
			return
		}
		c.end(t.(*netCommand), nil)
	}
}

func (c *netControl) end(t *netCommand, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t != nil && !t.done.Happened() {
		t.err = err
		t.done.Set()
	}
}

// abort ends a command that waits, of a device that is gone or was reset.
func (c *netControl) abort() {
	c.mu.Lock()
	t := c.current
	c.mu.Unlock()
	c.end(t, errReset)
}
