package msgport

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"dfemu/kernel/kern"
)

// Port is where messages are sent to.
type Port struct {
	// Name is for people.
	Name string

	k *kern.Kernel
	b backend

	lock      sync.Locker // guards the queues
	prio      queue
	norm      queue
	transit   atomic.Pointer[Msg] // stack of messages on their way to a thread's port
	event     atomic.Uint32       // changes as there is something to take
	consumers atomic.Int32        // threads that wait
	onPut     func(*Msg) error
}

// backend is how a kind of port does things.
type backend interface {
	// put takes a message: it returns ErrAsync if it was queued, else the answer.
	put(p *Port, m *Msg) error
	// get returns the next message, or nil.
	get(p *Port) *Msg
	// reply takes a message back.
	reply(p *Port, m *Msg)
	// remove takes a message out of the queue, if it is there.
	remove(p *Port, m *Msg) bool
}

// queue is a doubly linked list of messages.
type queue struct{ head, tail *Msg }

func (q *queue) push(m *Msg) {
	m.next, m.prev = nil, q.tail
	if q.tail == nil {
		q.head = m
	} else {
		q.tail.next = m
	}
	q.tail = m
}

func (q *queue) unlink(m *Msg) {
	if m.prev == nil {
		q.head = m.next
	} else {
		m.prev.next = m.next
	}
	if m.next == nil {
		q.tail = m.prev
	} else {
		m.next.prev = m.prev
	}
	m.next, m.prev = nil, nil
}

func (p *Port) queueOf(m *Msg) *queue {
	if m.Has(Priority) {
		return &p.prio
	}
	return &p.norm
}

// NewSpin returns a port for any number of threads that take messages.
func NewSpin(k *kern.Kernel, name string) *Port {
	return &Port{Name: name, k: k, b: queued{}, lock: new(sync.Mutex)}
}

// NewSerializer returns a port whose queue is guarded by a lock of its owner, which the caller of Get, Send and
// Reply for this port does not hold.
func NewSerializer(k *kern.Kernel, name string, lock sync.Locker) *Port {
	return &Port{Name: name, k: k, b: queued{}, lock: lock}
}

// NewThread returns the port of one thread, the only one that calls Get and Wait. Senders take no lock, and
// wake the thread by one message between CPUs at most.
func NewThread(k *kern.Kernel, name string) *Port {
	return &Port{Name: name, k: k, b: threadPort{}, lock: nolock{}}
}

// NewReply returns a port that can only be replied to: it queues nothing, messages just become done.
func NewReply(k *kern.Kernel, name string) *Port {
	return &Port{Name: name, k: k, b: replyOnly{}, lock: nolock{}}
}

// NewPut returns a port that calls f with each message, in the sender's thread. f returns the answer, or ErrAsync
// when it will reply later.
func NewPut(k *kern.Kernel, name string, f func(*Msg) error) *Port {
	return &Port{Name: name, k: k, b: putOnly{}, lock: nolock{}, onPut: f}
}

// NewPanic returns a port that must not be used, for messages that must not be sent or replied to.
func NewPanic(k *kern.Kernel, name string) *Port {
	return &Port{Name: name, k: k, b: never{}, lock: nolock{}}
}

// Get returns the next message, priority messages first, or nil.
func (p *Port) Get() *Msg {
	m := p.b.get(p)
	if m != nil && m.Has(Receipt) && m.Receipted != nil {
		m.Receipted(m)
	}
	return m
}

// Wait returns the next message, once there is one.
func (p *Port) Wait() *Msg { return p.WaitFor(-1) }

// WaitFor is Wait with a timeout, unless that is negative, after which it returns nil.
func (p *Port) WaitFor(timeout time.Duration) *Msg {
	end := p.k.Now() + timeout
	p.consumers.Add(1)
	defer p.consumers.Add(-1)
	for {
		v := p.event.Load()
		if m := p.Get(); m != nil {
			return m
		}
		left := time.Duration(-1)
		if timeout >= 0 {
			if left = end - p.k.Now(); left <= 0 {
				return nil
			}
		}
		p.k.Wait(&p.event, v, left)
	}
}

// notify wakes a thread that waits for messages.
func (p *Port) notify() {
	p.event.Add(1)
	if p.consumers.Load() > 0 {
		p.k.Wake(&p.event, 1)
	}
}

// queued is a port with a lock.
type queued struct{}

func (queued) put(p *Port, m *Msg) error {
	p.lock.Lock()
	m.set(Queued)
	p.queueOf(m).push(m)
	p.lock.Unlock()
	p.notify()
	return ErrAsync
}

func (queued) get(p *Port) *Msg {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.take()
}

// take is get with the lock held, or on the port's thread.
func (p *Port) take() *Msg {
	for _, q := range []*queue{&p.prio, &p.norm} {
		if m := q.head; m != nil {
			q.unlink(m)
			m.clear(Queued)
			return m
		}
	}
	return nil
}

func (queued) reply(p *Port, m *Msg) {
	p.lock.Lock()
	m.set(Queued)
	p.queueOf(m).push(m)
	m.complete()
	p.lock.Unlock()
	p.notify()
}

func (queued) remove(p *Port, m *Msg) bool {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.cut(m)
}

func (p *Port) cut(m *Msg) bool {
	if !m.Has(Queued) {
		return false
	}
	p.queueOf(m).unlink(m)
	m.clear(Queued)
	return true
}

// threadPort is a port whose queue only its thread touches. Others push messages on a stack, which
// the thread turns into the queue.
type threadPort struct{}

func (threadPort) send(p *Port, m *Msg) {
	for {
		top := p.transit.Load()
		m.next = top
		if p.transit.CompareAndSwap(top, m) {
			break
		}
	}
	p.notify()
}

func (b threadPort) put(p *Port, m *Msg) error {
	m.set(InTransit)
	b.send(p, m)
	return ErrAsync
}

// drain takes in what was sent, in the order it was sent in.
func (threadPort) drain(p *Port) {
	var list *Msg
	for m := p.transit.Swap(nil); m != nil; {
		next := m.next
		m.next = list
		list, m = m, next
	}
	for list != nil {
		m := list
		list = m.next
		m.set(Queued)
		m.clear(InTransit)
		p.queueOf(m).push(m)
	}
}

func (b threadPort) get(p *Port) *Msg {
	b.drain(p)
	return p.take()
}

// reply completes the message as it is put on its way; the thread finds it done, and queued
// after it has looked.
func (b threadPort) reply(p *Port, m *Msg) {
	m.set(InTransit)
	if Flags(m.flags.Or(uint32(Done|Replied)))&Waiting != 0 {
		b.send(p, m)
		p.k.Wake(&m.flags, 0)
		return
	}
	b.send(p, m)
}

func (b threadPort) remove(p *Port, m *Msg) bool {
	// The message may be done and not on the stack yet: its sender is about to push it.
	for m.Has(InTransit) {
		if b.drain(p); m.Has(InTransit) {
			runtime.Gosched()
		}
	}
	return p.cut(m)
}

// replyOnly is a port without a queue.
type replyOnly struct{}

func (replyOnly) put(p *Port, _ *Msg) error {
	panic("msgport: " + p.Name + " takes replies only")
}
func (replyOnly) get(*Port) *Msg          { return nil }
func (replyOnly) reply(_ *Port, m *Msg)   { m.complete() }
func (replyOnly) remove(*Port, *Msg) bool { return false }

// putOnly is a function.
type putOnly struct{}

func (putOnly) put(p *Port, m *Msg) error { return p.onPut(m) }
func (putOnly) get(*Port) *Msg            { return nil }
func (putOnly) reply(p *Port, _ *Msg) {
	panic("msgport: " + p.Name + " does not take replies")
}
func (putOnly) remove(*Port, *Msg) bool { return false }

// never is a port nobody may use.
type never struct{}

func (never) put(p *Port, _ *Msg) error { panic("msgport: a message is sent to " + p.Name) }
func (never) get(p *Port) *Msg          { panic("msgport: a message is taken from " + p.Name) }
func (never) reply(p *Port, _ *Msg)     { panic("msgport: a reply is sent to " + p.Name) }
func (never) remove(p *Port, _ *Msg) bool {
	panic("msgport: a message is taken from " + p.Name)
}

// nolock is for ports that need none.
type nolock struct{}

func (nolock) Lock()   {}
func (nolock) Unlock() {}
