//go:build linux && amd64

package kvm

import (
	"encoding/binary"
	"fmt"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"dfemu/cpu"
)

// exit does what KVM_RUN returned for.
func (v *VCPU) exit() (exit cpu.Exit, leave bool, err error) {
	switch reason := v.run.exitReason(); reason {
	case uint32(gokvm.EXITIO):
		return exit, false, v.portIO()
	case uint32(gokvm.EXITMMIO):
		return exit, false, v.mmio()
	case exitIOAPICEOI:
		vector := uint8(v.run.u32(0))
		v.a.routes.ended(vector)
		v.a.cfg.Platform.EOI(vector)
	case uint32(gokvm.EXITIRQWINDOWOPEN), uint32(gokvm.EXITINTR):
		// What was asked for is looked at before the next KVM_RUN.
	case uint32(gokvm.EXITSHUTDOWN):
		return cpu.Exit{Reason: cpu.ExitShutdown}, true, nil
	case uint32(gokvm.EXITDEBUG):
		return cpu.Exit{Reason: cpu.ExitDebug}, true, nil
	case exitSystemEvent:
		return v.systemEvent()
	case uint32(gokvm.EXITINTERNALERROR):
		return v.internalError()
	case uint32(gokvm.EXITFAILENTRY):
		return exit, true, fmt.Errorf("kvm: cpu%d: the host's processor refuses the guest's state: hardware reason %#x at RIP %#x",
			v.id, v.run.u64(0), v.rip.Load())
	case uint32(gokvm.EXITUNKNOWN):
		return exit, true, fmt.Errorf("kvm: cpu%d: unknown exit, hardware reason %#x at RIP %#x", v.id, v.run.u64(0), v.rip.Load())
	default:
		return exit, true, fmt.Errorf("kvm: cpu%d: exit %d (%v) at RIP %#x cannot be handled", v.id, reason, gokvm.ExitType(reason), v.rip.Load())
	}
	return exit, false, nil
}

// Offsets in the exit union.
const (
	ioDirection = 0
	ioSize      = 1
	ioPort      = 2
	ioCount     = 4
	ioData      = 8 // offset of the data in the run mapping

	mmioAddress = 0
	mmioData    = 8
	mmioLen     = 16
	mmioWrite   = 20
)

// portIO is IN, OUT, INS or OUTS: count accesses of one size to one port.
func (v *VCPU) portIO() error {
	x := v.run[runExit:]
	out, size := x[ioDirection] == gokvm.EXITIOOUT, int(x[ioSize])
	port := binary.NativeEndian.Uint16(x[ioPort:])
	count, at := uint64(v.run.u32(ioCount)), v.run.u64(ioData)
	v.open = true
	if size != 1 && size != 2 && size != 4 || at > uint64(len(v.run)) || count*uint64(size) > uint64(len(v.run))-at {
		return fmt.Errorf("kvm: cpu%d: port exit for %d accesses of %d bytes at offset %#x of the run page makes no sense", v.id, count, size, at)
	}
	data := v.run[at:]
	for range count {
		v.exits.Add(1)
		switch {
		case out && size == 1:
			v.bus.Out(port, 1, uint32(data[0]))
		case out && size == 2:
			v.bus.Out(port, 2, uint32(binary.NativeEndian.Uint16(data)))
		case out:
			v.bus.Out(port, 4, binary.NativeEndian.Uint32(data))
		case size == 1:
			data[0] = uint8(v.bus.In(port, 1))
		case size == 2:
			binary.NativeEndian.PutUint16(data, uint16(v.bus.In(port, 2)))
		default:
			binary.NativeEndian.PutUint32(data, v.bus.In(port, 4))
		}
		data = data[size:]
	}
	return nil
}

// mmio is an access to guest-physical memory that is not in a slot, or a
// store to one that is read-only. KVM splits larger accesses, and those across pages.
func (v *VCPU) mmio() error {
	x := v.run[runExit:]
	gpa, n := v.run.u64(mmioAddress), int(v.run.u32(mmioLen))
	v.open = true
	v.exits.Add(1)
	if n < 1 || n > 8 {
		return fmt.Errorf("kvm: cpu%d: memory exit of %d bytes at %#x makes no sense", v.id, n, gpa)
	}
	data := x[mmioData : mmioData+8]
	if x[mmioWrite] != 0 {
		writeBus(v.bus, gpa, n, binary.NativeEndian.Uint64(data))
	} else {
		binary.NativeEndian.PutUint64(data, readBus(v.bus, gpa, n))
	}
	return nil
}

// readBus and writeBus make accesses of 1 to 8 bytes; what is not a power
// of two, part of an access across pages, goes byte by byte.
func readBus(bus cpu.Bus, gpa uint64, n int) (val uint64) {
	if n&(n-1) == 0 {
		return bus.Read(gpa, n)
	}
	for i := range n {
		val |= bus.Read(gpa+uint64(i), 1) & 0xff << (8 * i)
	}
	return val
}

func writeBus(bus cpu.Bus, gpa uint64, n int, val uint64) {
	if n&(n-1) == 0 {
		if n < 8 {
			val &= 1<<(8*n) - 1
		}
		bus.Write(gpa, n, val)
		return
	}
	for i := range n {
		bus.Write(gpa+uint64(i), 1, val>>(8*i)&0xff)
	}
}

// System events.
const (
	eventShutdown = 1
	eventReset    = 2
	eventCrash    = 3
)

// systemEvent is what the guest asked of KVM through a paravirtual interface.
func (v *VCPU) systemEvent() (cpu.Exit, bool, error) {
	switch kind := v.run.u32(0); kind {
	case eventReset:
		return cpu.Exit{Reason: cpu.ExitReset}, true, nil
	case eventShutdown, eventCrash:
		return cpu.Exit{Reason: cpu.ExitShutdown}, true, nil
	default:
		return cpu.Exit{}, true, fmt.Errorf("kvm: cpu%d: system event %d is unknown", v.id, kind)
	}
}

// internalError is KVM giving up. Where it is for an instruction that it does
// not emulate, the interpreter executes that one.
func (v *VCPU) internalError() (cpu.Exit, bool, error) {
	suberror, n := v.run.u32(0), v.run.u32(4)
	if suberror == suberrorEmulation {
		ok, err := v.interpret()
		if err != nil || ok {
			return cpu.Exit{}, err != nil, err
		}
		return cpu.Exit{Reason: cpu.ExitShutdown}, true, nil
	}
	var data []uint64
	for i := range min(n, 16) {
		data = append(data, v.run.u64(8+8*int(i)))
	}
	return cpu.Exit{}, true, fmt.Errorf("kvm: cpu%d: internal error %d at RIP %#x, data %#x", v.id, suberror, v.rip.Load(), data)
}
