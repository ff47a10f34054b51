package nvme

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/ddb"
	"dfemu/kernel/kern"
	"dfemu/kernel/subr/disk"
)

// Limits of what is tried.
const (
	maxTries  = 4
	maxResets = 3 // in a row without a command that succeeded
)

// times is how long things may take.
type times struct {
	ready time.Duration // at least; the controller may say that it takes longer
	admin time.Duration // of an administrative command
	io    time.Duration // until a command is aborted, unless Driver.Timeout says otherwise; half of it later the controller is reset
	tick  time.Duration // between looks at commands that are under way, at most
	irq   time.Duration // until an interrupt that has been sent is handled
	slow  time.Duration // until it is said that the controller takes its time
}

var usualTimes = times{
	ready: 500 * time.Millisecond, admin: 5 * time.Second, io: 10 * time.Second, tick: time.Second, irq: 10 * time.Millisecond, slow: 3 * time.Second,
}

// Driver is the driver of NVMe controllers.
type Driver struct {
	Layer *disk.Layer
	Debug *ddb.Debugger // may be nil
	// Timeout is how long the controller has for a command until it is aborted; 0 is 10 s.
	Timeout time.Duration

	times *times // of tests
}

// Name implements pci.Driver.
func (Driver) Name() string { return "nvme" }

// Match implements pci.Driver.
func (Driver) Match(d *pci.Device) bool { return d.Class == 0x010802 }

// What the controller's thread is told.
const (
	sigStop   = 1 << iota
	sigBusy   // there are commands to look after
	sigRescan // namespaces may have changed
	sigEvent  // an asynchronous event came
	sigRetry  // a command is to be sent again
)

// controller is a unit.
type controller struct {
	k       *kern.Kernel
	pci     *pci.Device
	regs    kern.Registers
	name    string
	unit    int
	layer   *disk.Layer
	stride  uint64
	depth   int           // of I/O queues
	timeout time.Duration // for becoming ready
	times   times

	ints    []*kern.Interrupt
	admin   *sq
	acq     *cq
	read    []*sq // by CPU
	write   []*sq
	sqs     []*sq
	cqs     []*cq
	mode    string
	signals *kern.Signals
	watched atomic.Bool
	gone    atomic.Bool
	alive   atomic.Bool // a command has succeeded since the last reset
	resets  int
	// aborting are the commands that were asked to be aborted last, by queue; the thread's.
	aborting map[int]abort
	thread   *kern.Thread
	ready    *kern.Event
	err      error
	hide     func() // from the debugger; nil if it is not shown

	model, serial, firmware string
	maxLen                  int
	dsm, cache              bool
	count                   uint32 // of namespaces
	version                 uint32

	mu     sync.Mutex
	spaces map[uint32]*namespace
	retry  []*command
	events []uint32
}

// namespace is a disk.
type namespace struct {
	c     *controller
	id    uint32
	shift uint
	size  uint64
	disk  *disk.Disk
}

// Attach implements pci.Driver.
func (drv Driver) Attach(d *pci.Device, unit int) (pci.Attached, error) {
	k := d.Kernel()
	c := &controller{k: k, pci: d, unit: unit, name: fmt.Sprintf("nvme%d", unit), layer: drv.Layer,
		signals: k.NewSignals(), ready: k.NewEvent(), spaces: map[uint32]*namespace{}, times: usualTimes}
	if drv.times != nil {
		c.times = *drv.times
	}
	if drv.Timeout > 0 {
		c.times.io = drv.Timeout
		c.times.admin = min(c.times.admin, drv.Timeout)
	}
	c.times.tick = min(c.times.tick, c.times.io/4)
	regs, err := d.Map(0)
	if err != nil {
		return nil, err
	}
	if regs.Size() < regBells+16 {
		return nil, fmt.Errorf("registers of %d bytes", regs.Size())
	}
	c.regs = regs
	c.thread = k.Start(kern.ThreadAttr{Name: c.name, Priority: kern.IntrSupport, Failed: c.pci.Failed}, c.run)
	c.ready.Wait(-1)
	if c.err != nil {
		return nil, c.err
	}
	if drv.Debug != nil {
		c.hide = drv.Debug.Add("nvme", c.show)
	}
	return c, nil
}

// run is the controller's thread: up, then whatever comes.
func (c *controller) run() {
	defer func() {
		if !c.ready.Happened() { // a panic: who waits must not wait for ever
			c.err = errors.New("its driver has failed")
			c.ready.Set()
		}
	}()
	if err := c.attach(); err != nil {
		c.err = err
		c.release()
		c.ready.Set()
		return
	}
	c.ready.Set()
	timeout := time.Duration(-1)
	for {
		sig := c.signals.Take(timeout)
		if sig&sigStop != 0 {
			return
		}
		if c.gone.Load() {
			timeout = -1
			continue
		}
		if sig&sigEvent != 0 {
			c.event()
		}
		if sig&sigRescan != 0 {
			c.rescan()
		}
		if sig&sigRetry != 0 {
			c.again()
		}
		timeout = c.times.tick
		if c.check() || sig != 0 {
			// Also what is quiet is watched for a tick: requests that follow one another do not wake this thread each time.
			continue
		}
		c.watched.Store(false)
		if c.busy() {
			c.watched.Store(true)
		} else {
			timeout = -1
		}
	}
}

// attach brings the controller up for the first time.
func (c *controller) attach() error {
	cap := c.regs.Read64(regCAP)
	if cap == 1<<64-1 {
		return errors.New("it does not answer")
	}
	c.version = c.regs.Read32(regVS)
	c.stride = 4 << (cap >> 32 & 15)
	c.timeout = max(time.Duration(cap>>24&0xff)*500*time.Millisecond, c.times.ready)
	if c.regs.Size() < regBells+2*c.stride {
		return fmt.Errorf("its doorbells, %d bytes apart, are outside its registers of %d bytes", c.stride, c.regs.Size())
	}
	c.depth = min(int(cap&0xffff)+1, queueDepth)
	if cap>>48&15 > 0 {
		return fmt.Errorf("its smallest page is %d bytes", 4096<<(cap>>48&15))
	}
	if c.depth < 2 {
		return errors.New("its queues have one entry")
	}
	c.pci.SetMaster(true)
	n := c.k.CPUs()
	cpus := []int{0}
	for i := range n {
		cpus = append(cpus, i)
	}
	var err error
	if c.ints, err = c.pci.Interrupts(n+1, cpus...); err != nil {
		return err
	}
	if c.acq, err = c.newCQ(0, adminDepth); err != nil {
		return err
	}
	if c.admin, err = c.newSQ(0, adminDepth, c.acq); err != nil {
		return err
	}
	c.k.Handle(c.ints[0], c.name+" admin", kern.IntrMed, func() {
		c.interrupt(0, c.acq.process())
	})
	if err := c.enable(); err != nil {
		return err
	}
	if err := c.identify(); err != nil {
		return err
	}
	if err := c.makeQueues(); err != nil {
		return err
	}
	for i, in := range c.ints[1:] {
		c.k.Handle(in, fmt.Sprintf("%s q%d", c.name, i+1), kern.IntrMed, func() { c.interrupt(i+1, 0) })
	}
	c.k.Printf("%s: <%s %s>, serial number %s, NVMe %d.%d, %d namespaces at most", c.name, c.model, c.firmware, c.serial,
		c.version>>16, c.version>>8&0xff, c.count)
	c.k.Printf("%s: mapping %s: %d submission and %d completion queues of %d, %d interrupts", c.name, c.mode, len(c.sqs), len(c.cqs), c.depth, len(c.ints))
	if err := c.createQueues(); err != nil {
		return err
	}
	c.rescan()
	c.listen()
	return nil
}

// quiet keeps the controller from asserting its pin, which nobody takes back while the queues stand still: the pin's handler would be called without
// end, before the thread that resets the controller. Messages come once for each completion.
func (c *controller) quiet(on bool) {
	if len(c.ints) == 0 || !c.ints[0].Shared() {
		return
	}
	r := uint64(regINTMC)
	if on {
		r = regINTMS
	}
	c.regs.Write32(r, 1) // a pin is vector 0
}

// vector is the interrupt of a completion queue.
func (c *controller) vector(q int) int {
	if len(c.ints) == 1 {
		return 0
	}
	return 1 + (q-1)%(len(c.ints)-1)
}

// interrupt sees to the completion queues of an interrupt; n completions have been taken already.
func (c *controller) interrupt(v, n int) {
	c.mu.Lock()
	qs := c.cqs
	c.mu.Unlock()
	for _, q := range qs {
		if c.vector(q.id) == v {
			n += q.process()
		}
	}
	if n == 0 {
		c.ints[v].Idle()
	} else {
		c.ints[v].Busy()
	}
}

// waitReady waits for CSTS.RDY.
func (c *controller) waitReady(on bool) error {
	end, slow := c.k.Now()+c.timeout, c.k.Now()+c.times.slow
	for {
		s := c.regs.Read32(regCSTS)
		switch {
		case s == allOnes:
			return disk.ErrGone
		case s&cstsFatal != 0 && on:
			return errors.New("it reports a fatal error")
		case s&cstsReady != 0 == on:
			return nil
		case c.k.Now() > end:
			return fmt.Errorf("ready is not %v after %v", on, c.timeout)
		case c.k.Now() > slow:
			slow = end
			c.k.Printf("%s: it is not ready yet; it says that may take %v", c.name, c.timeout)
		}
		time.Sleep(time.Millisecond)
	}
}

// enable resets the controller and gives it the admin queues.
func (c *controller) enable() error {
	c.regs.Write32(regCC, 0)
	if err := c.waitReady(false); err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	c.acq.reset()
	c.admin.mu.Lock()
	c.admin.stopped = false
	c.admin.mu.Unlock()
	c.regs.Write32(regAQA, (adminDepth-1)<<16|(adminDepth-1))
	c.regs.Write64(regASQ, c.admin.mem.Phys)
	c.regs.Write64(regACQ, c.acq.mem.Phys)
	c.regs.Write32(regCC, ccEnable|ccSQEntry|ccCQEntry)
	if err := c.waitReady(true); err != nil {
		return fmt.Errorf("enable: %w", err)
	}
	c.quiet(false)
	return nil
}

// do executes an admin command and returns its result. It is called by the controller's thread only.
func (c *controller) do(m command) (uint32, error) {
	p := &m
	p.done = c.k.NewEvent()
	c.admin.submit(p)
	for end := c.k.Now() + c.times.admin; !p.done.Wait(c.times.tick); {
		switch {
		case c.regs.Read32(regCSTS) == allOnes:
			return 0, disk.ErrGone
		case c.acq.process() > 0 && p.done.Happened():
			c.k.Printf("%s: an interrupt of the admin queue was lost", c.name)
		case c.k.Now() > end:
			return 0, fmt.Errorf("admin command %#02x: %w", m.op, disk.ErrTimeout)
		}
	}
	if p.err != nil {
		return 0, p.err
	}
	if p.status.kind() == typeSpecific && p.status.code() == codeNotChangeable {
		return 0, fmt.Errorf("admin command %#02x: %w", m.op, disk.ErrSupported)
	}
	if p.status != 0 {
		return 0, refusal{m.op, p.status}
	}
	return p.result, nil
}

// refusal is an admin command that the controller has ended with an error.
type refusal struct {
	op     uint8
	status status
}

// Error implements error.
func (r refusal) Error() string {
	return fmt.Sprintf("admin command %#02x: status type %d code %#02x", r.op, r.status.kind(), r.status.code())
}

// page executes an admin command that fills a page.
func (c *controller) page(m command) ([]byte, error) {
	mem, err := c.k.AllocDMA(pageSize, pageSize, 0)
	if err != nil {
		return nil, err
	}
	m.prp1 = mem.Phys
	if _, err := c.do(m); err != nil {
		if !errors.Is(err, disk.ErrTimeout) { // else the controller may still write it
			c.k.FreeDMA(mem)
		}
		return nil, err
	}
	b := slices.Clone(mem.Bytes)
	c.k.FreeDMA(mem)
	return b, nil
}

// text is a string of an identification: what cannot be printed is left out.
func text(b []byte) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b)))
}

// identify reads what the controller says of itself.
func (c *controller) identify() error {
	b, err := c.page(command{op: admIdentify, dw10: [6]uint32{cnsController}})
	if err != nil {
		return fmt.Errorf("identify: %w", err)
	}
	c.serial, c.model, c.firmware = text(b[4:24]), text(b[24:64]), text(b[64:72])
	c.maxLen = maxTransfer
	if mdts := b[77]; mdts > 0 && mdts < 8 {
		c.maxLen = min(maxTransfer, pageSize<<mdts)
	}
	c.count = binary.LittleEndian.Uint32(b[516:])
	c.dsm = b[520]&4 != 0
	c.cache = b[525]&1 != 0
	return nil
}

// makeQueues asks for queues and decides which CPU uses which.
func (c *controller) makeQueues() error {
	n := c.k.CPUs()
	want := min(2*n, maxQueues) - 1
	r, err := c.do(command{op: admSetFeatures, dw10: [6]uint32{featQueues, uint32(want) | uint32(want)<<16}})
	if err != nil {
		return fmt.Errorf("number of queues: %w", err)
	}
	subs, comps := int(r&0xffff)+1, int(r>>16)+1
	if room := int((c.regs.Size() - regBells) / (2 * c.stride)); room-1 < max(subs, comps) {
		subs, comps = min(subs, room-1), min(comps, room-1)
	}
	if subs < 1 || comps < 1 {
		return errors.New("it has no queues")
	}
	if c.pci.Capability(pci.CapMSIX, 0) == 0 {
		comps = min(comps, 4)
	}
	nsq, ncq := 1, 1
	switch {
	case subs >= 2*n && comps >= n:
		c.mode, nsq, ncq = "optimal", 2*n, n
	case subs >= n && comps >= n:
		c.mode, nsq, ncq = "nominal", n, n
	case subs >= 4 && comps >= 2:
		c.mode, ncq = "rw-sep", min(subs/2, comps)
		nsq = 2 * ncq
	case subs >= 2:
		c.mode, nsq = "basic", 2
	default:
		c.mode = "minimal"
	}
	// The handlers of interrupts, of which one may come for the admin queue, see them when they are complete.
	var cqs []*cq
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.cqs = cqs
	}()
	for i := range ncq {
		q, err := c.newCQ(i+1, c.depth)
		if err != nil {
			return err
		}
		cqs = append(cqs, q)
	}
	for i := range nsq {
		s, err := c.newSQ(i+1, c.depth, cqs[i%ncq])
		if err != nil {
			return err
		}
		c.sqs = append(c.sqs, s)
	}
	for cpu := range n {
		switch c.mode {
		case "nominal", "minimal":
			s := c.sqs[cpu%nsq]
			c.read, c.write = append(c.read, s), append(c.write, s)
		default:
			c.read = append(c.read, c.sqs[cpu%ncq])
			c.write = append(c.write, c.sqs[cpu%ncq+ncq])
		}
	}
	return nil
}

// createQueues creates the queues in the controller, completion queues first.
func (c *controller) createQueues() error {
	// A controller that cannot change it does not do it.
	if _, err := c.do(command{op: admSetFeatures, dw10: [6]uint32{featCoalescing, 0}}); err != nil && !errors.Is(err, disk.ErrSupported) {
		c.k.Printf("%s: interrupt coalescing stays as it is: %v", c.name, err)
	}
	for _, q := range c.cqs {
		q.reset()
		_, err := c.do(command{op: admCreateCQ, prp1: q.mem.Phys, dw10: [6]uint32{
			uint32(q.depth-1)<<16 | uint32(q.id), uint32(c.vector(q.id))<<16 | queueInterrupt | queueContiguous}})
		if err != nil {
			return fmt.Errorf("create completion queue %d: %w", q.id, err)
		}
	}
	for _, s := range c.sqs {
		_, err := c.do(command{op: admCreateSQ, prp1: s.mem.Phys, dw10: [6]uint32{
			uint32(s.depth-1)<<16 | uint32(s.id), uint32(s.cq.id)<<16 | queueContiguous}})
		if err != nil {
			return fmt.Errorf("create submission queue %d: %w", s.id, err)
		}
	}
	for _, s := range c.sqs {
		s.mu.Lock()
		s.stopped = false
		s.mu.Unlock()
		s.refill()
	}
	return nil
}

// release gives back what the controller used, once it does not use it any more.
func (c *controller) release() {
	if c.pci.Present() && c.regs.Read32(regCSTS) != allOnes {
		c.regs.Write32(regCC, 0)
		_ = c.waitReady(false) // then it is no master any more
	}
	c.pci.SetMaster(false)
	c.pci.StopInterrupts()
	for _, q := range append([]*cq{c.acq}, c.cqs...) {
		if q != nil {
			c.k.FreeDMA(q.mem)
		}
	}
	for _, s := range append([]*sq{c.admin}, c.sqs...) {
		if s != nil {
			c.k.FreeDMA(s.mem)
			c.k.FreeDMA(s.prp)
		}
	}
}

// Detach implements pci.Attached.
func (c *controller) Detach() {
	if c.hide != nil {
		c.hide()
	}
	if c.pci.HasFailed() {
		c.suspend() // before requests come back for which there is no device any more
	}
	c.signals.Raise(sigStop)
	c.thread.Join()
	for _, s := range c.sqs {
		s.hold()
	}
	if c.pci.HasFailed() {
		for _, q := range append([]*cq{c.acq}, c.cqs...) {
			q.stop() // handlers of other queues' interrupts may be at work
		}
	}
	if !c.gone.Load() && c.regs.Read32(regCSTS) != allOnes {
		if !c.pci.HasFailed() {
			c.deleteQueues()
		} // else nobody takes completions
		c.shutdown()
		c.regs.Write32(regCC, 0)
		_ = c.waitReady(false) // then it is no master any more
	}
	c.pci.SetMaster(false)
	c.fail()
	c.release()
}

// suspend has the disks wait until the driver has been restarted.
func (c *controller) suspend() {
	c.mu.Lock()
	var disks []*disk.Disk
	for _, n := range c.spaces {
		disks = append(disks, n.disk)
	}
	c.mu.Unlock()
	for _, d := range disks {
		c.layer.Suspend(d)
	}
}

// deleteQueues deletes the queues for reads and writes.
func (c *controller) deleteQueues() {
	for _, s := range c.sqs {
		if _, err := c.do(command{op: admDeleteSQ, dw10: [6]uint32{uint32(s.id)}}); err != nil {
			c.k.Printf("%s: delete submission queue %d: %v", c.name, s.id, err)
			break
		}
	}
	for _, q := range c.cqs {
		q.process()
		q.stop()
		if _, err := c.do(command{op: admDeleteCQ, dw10: [6]uint32{uint32(q.id)}}); err != nil {
			c.k.Printf("%s: delete completion queue %d: %v", c.name, q.id, err)
			break
		}
	}
}

// shutdown tells the controller to end in order.
func (c *controller) shutdown() {
	c.regs.Write32(regCC, c.regs.Read32(regCC)&^(3<<14)|ccNormal)
	for end := c.k.Now() + c.timeout; c.k.Now() < end; time.Sleep(time.Millisecond) {
		if csts := c.regs.Read32(regCSTS); csts == allOnes || csts&cstsShut == cstsShutEnd {
			return
		}
	}
	c.k.Printf("%s: it does not end in order", c.name)
}

// fail takes the controller out of use: its disks vanish, and all requests end with an error.
func (c *controller) fail() {
	if c.gone.Swap(true) {
		return
	}
	c.mu.Lock()
	var disks []*disk.Disk
	for _, n := range c.spaces {
		disks = append(disks, n.disk)
	}
	clear(c.spaces)
	cqs := append([]*cq{c.acq}, c.cqs...)
	lost := c.retry
	c.retry = nil
	c.mu.Unlock()
	for _, d := range disks {
		if c.pci.HasFailed() {
			c.layer.Suspend(d)
		} else {
			c.layer.Destroy(d)
		}
	}
	if c.regs.Read32(regCSTS) != allOnes {
		c.quiet(true)
	}
	for _, q := range cqs {
		q.stop()
	}
	c.admin.hold()
	for _, s := range c.sqs {
		lost = append(lost, s.stop()...)
		lost = append(lost, s.drain()...)
	}
	for _, m := range lost {
		m.err = disk.ErrGone
		c.finish(m)
	}
}
