// Package msgport has messages and the ports they are sent to, in the manner of LWKT.
//
// A message belongs to its sender until it is sent, then to the port's side until it is
// replied to, then to the sender again. Whoever answers at once, from within the port's Put, completes
// the message without a switch of threads.
package msgport

import (
	"errors"
	"sync/atomic"
	"time"

	"dfemu/kernel/kern"
)

// Flags of a message. The upper 16 bits are the user's.
type Flags uint32

// Flags; the values are DragonFly's.
const (
	Done      Flags = 0x0001 // the message is complete
	Replied   Flags = 0x0002 // it is back with the sender
	Queued    Flags = 0x0004 // it is in a port's queue
	Sync      Flags = 0x0008 // the sender waits for the message itself: a reply is not queued
	InTransit Flags = 0x0010 // on its way to a thread's port
	Waiting   Flags = 0x0020 // a thread sleeps on it
	Dropable  Flags = 0x0040 // Drop may take it out of its queue
	Abortable Flags = 0x0080 // Abort may be called
	Priority  Flags = 0x0100 // goes to the port's priority queue
	Receipt   Flags = 0x0200 // Receipted is called as the message is taken out
)

// ErrAsync is what Put of a port returns when the message was queued: the answer comes by
// Reply. It is never a message's result.
var ErrAsync = errors.New("msgport: the message is queued")

// ErrAborted is the usual result of a message that was aborted.
var ErrAborted = errors.New("msgport: the message was aborted")

// Msg is a message. Make it with [New]; it can be sent again when it has come back.
type Msg struct {
	// Err is the result, for the sender once the message is done.
	Err error
	// Data is the message's content.
	Data any
	// OnAbort is called by Abort on the port's side, with Abortable set; it
	// may reply.
	OnAbort func(*Msg)
	// Receipted is called, with Receipt set, by the thread that takes the message out of the port.
	Receipted func(*Msg)

	k      *kern.Kernel
	flags  atomic.Uint32
	target atomic.Pointer[Port]
	reply  *Port
	next   *Msg // in a queue, or on its way
	prev   *Msg
}

// New returns a message whose replies are queued at reply; nil is for messages sent by Do
// only.
func New(k *kern.Kernel, reply *Port, flags Flags) *Msg {
	m := &Msg{k: k, reply: reply}
	m.flags.Store(uint32(flags&^Queued | Done | Replied))
	return m
}

// Flags returns the flags as they are now.
func (m *Msg) Flags() Flags { return Flags(m.flags.Load()) }

// Has tells whether all of the given flags are set.
func (m *Msg) Has(f Flags) bool { return m.Flags()&f == f }

// Target is the port the message was last sent to.
func (m *Msg) Target() *Port { return m.target.Load() }

func (m *Msg) set(f Flags)   { m.flags.Or(uint32(f)) }
func (m *Msg) clear(f Flags) { m.flags.And(^uint32(f)) }

// complete marks the message done and wakes who sleeps on it. Afterwards it is the
// sender's.
func (m *Msg) complete() {
	k := m.k
	if Flags(m.flags.Or(uint32(Done|Replied)))&Waiting != 0 {
		k.Wake(&m.flags, 0)
	}
}

// Send sends m to p. The reply comes to the message's reply port, even if it is made at once.
func Send(p *Port, m *Msg) {
	m.start(p, 0)
	if err := p.b.put(p, m); err != ErrAsync {
		m.Err = err
		m.reply.b.reply(m.reply, m)
	}
}

// Do sends m to p, waits for the answer and returns it. When the port answers at once there
// is no switch.
func Do(p *Port, m *Msg) error {
	m.start(p, Sync)
	if err := p.b.put(p, m); err != ErrAsync {
		m.Err = err
		m.set(Done | Replied)
		return err
	}
	Wait(m)
	return m.Err
}

// start prepares a message for a port.
func (m *Msg) start(p *Port, f Flags) {
	if !m.Has(Done) {
		panic("msgport: a message is sent that has not come back")
	}
	m.Err = nil
	m.target.Store(p)
	m.clear(Done | Replied | Sync | Waiting)
	m.set(f)
}

// Forward passes a message that the caller has taken from a port on to another. The reply goes to the
// sender as ever.
func Forward(p *Port, m *Msg) {
	if m.Flags()&(Queued|Done) != 0 {
		panic("msgport: a message is forwarded that was not taken from a port")
	}
	m.target.Store(p)
	if err := p.b.put(p, m); err != ErrAsync {
		Reply(m, err)
	}
}

// Reply gives a message back to its sender with a result.
func Reply(m *Msg, err error) {
	if m.Has(Done) {
		panic("msgport: a message is replied to twice")
	}
	m.Err = err
	if m.Has(Sync) {
		m.complete()
		return
	}
	m.reply.b.reply(m.reply, m)
}

// Wait waits for m to be done. A reply that was queued is taken out of its port.
func Wait(m *Msg) { WaitFor(m, -1) }

// WaitFor is Wait with a timeout, unless that is negative; it returns false when the message is not done yet.
func WaitFor(m *Msg, timeout time.Duration) bool {
	end := m.k.Now() + timeout
	for {
		f := m.flags.Load()
		if Flags(f)&Done != 0 {
			break
		}
		left := time.Duration(-1)
		if timeout >= 0 {
			if left = end - m.k.Now(); left <= 0 {
				return false
			}
		}
		if Flags(f)&Waiting == 0 && !m.flags.CompareAndSwap(f, f|uint32(Waiting)) {
			continue
		}
		m.k.Wait(&m.flags, f|uint32(Waiting), left)
	}
	m.clear(Waiting)
	if m.reply != nil && !m.Has(Sync) {
		m.reply.b.remove(m.reply, m)
	}
	return true
}

// Abort asks the side that has the message to give it back soon. It is called by the
// sender; a message that is done, or is not abortable, stays as it is.
func Abort(m *Msg) {
	if m.Flags()&(Done|Abortable) == Abortable && m.OnAbort != nil {
		m.OnAbort(m)
	}
}

// Drop takes a dropable message out of the port it is queued at, for good: it is done without
// an answer. It returns false if it is not queued any more. For a thread's port only that thread
// calls it.
func Drop(m *Msg) bool {
	p := m.Target()
	if p == nil || !m.Has(Dropable) || !p.b.remove(p, m) {
		return false
	}
	m.set(Done | Replied)
	return true
}
