package acpi

import (
	"fmt"

	"dfemu/firmware/acpi/aml"
)

func cpuName(uid int) string { return fmt.Sprintf("C%03X", uid) }

// cpus is the container of the processor devices (section 8.4).
func (c *Config) cpus() aml.Term {
	ts := []aml.Term{
		aml.Name("_HID", aml.String("ACPI0010")),
		aml.Name("_CID", aml.EISAID("PNP0A05")),
	}
	if c.CPUHotplug != nil {
		ts = append(ts, c.hotplugMethods()...)
	}
	for uid, p := range c.CPUs {
		ts = append(ts, c.cpuDevice(uid, p))
	}
	return aml.Device("CPUS", ts...)
}

func (c *Config) cpuDevice(uid int, p CPU) aml.Term {
	id := aml.Int(uint64(uid))
	ts := []aml.Term{
		aml.Name("_HID", aml.String("ACPI0007")),
		aml.Name("_UID", id),
	}
	switch {
	case c.CPUHotplug != nil:
		// What a processor is said to be once it is there: the entry that the
		// MADT would have had.
		p.Absent = false
		ts = append(ts,
			aml.Method("_STA", 0, aml.Return(aml.Call("CSTA", id))),
			aml.Name("_MAT", aml.Buffer(cpuEntry(uid, p))),
			aml.Method("_OST", 3, aml.Call("COST", id, aml.Arg(0), aml.Arg(1))),
		)
		if uid != 0 {
			ts = append(ts, aml.Method("_EJ0", 1, aml.Call("CEJM", id)))
		}
	case p.Absent:
		ts = append(ts, aml.Name("_STA", aml.Int(0)))
	default:
		ts = append(ts, aml.Name("_STA", aml.Int(0x0f)))
	}
	return aml.Device(cpuName(uid), ts...)
}

// hotplugMethods drive the processor hot-plug registers: a selector at 0,
// flags at 4, a command at 5 and its data at 8.
func (c *Config) hotplugMethods() []aml.Term {
	const (
		cmdNextWithEvent = 0
		cmdOSTEvent      = 1
		cmdOSTStatus     = 2

		noteDeviceCheck  = 1
		noteEjectRequest = 3
	)
	sel, cmd, data := aml.Ref("CSEL"), aml.Ref("CCMD"), aml.Ref("CDAT")
	inserted, removed := aml.Ref("CINS"), aml.Ref("CRMV")
	lock, unlock := aml.Acquire(aml.Ref("CPLK"), 0xffff), aml.Release(aml.Ref("CPLK"))

	var tell []aml.Term
	for uid := range c.CPUs {
		tell = append(tell, aml.If(aml.LEqual(aml.Arg(0), aml.Int(uint64(uid))), aml.Notify(aml.Ref(cpuName(uid)), aml.Arg(1))))
	}
	return []aml.Term{
		aml.Mutex("CPLK", 0),
		aml.OperationRegion("CPRG", aml.SystemIO, aml.Int(uint64(c.CPUHotplug.Base)), aml.Int(12)),
		aml.Field("CPRG", aml.ByteAcc|aml.WriteAsZeroes,
			aml.Skip(32), aml.Bits("CPEN", 1), aml.Bits("CINS", 1), aml.Bits("CRMV", 1), aml.Bits("CEJ0", 1),
			aml.Skip(4), aml.Bits("CCMD", 8)),
		aml.Field("CPRG", aml.DWordAcc, aml.Bits("CSEL", 32), aml.Skip(32), aml.Bits("CDAT", 32)),
		// A write to the selector switches the block from its legacy form.
		aml.Method("_INI", 0, aml.Store(aml.Int(0), sel)),
		aml.MethodSerialized("CSTA", 1,
			lock,
			aml.Store(aml.Arg(0), sel),
			aml.Store(aml.Int(0), aml.Local(0)),
			aml.If(aml.Ref("CPEN"), aml.Store(aml.Int(0x0f), aml.Local(0))),
			unlock,
			aml.Return(aml.Local(0)),
		),
		aml.Method("CTFY", 2, tell...),
		aml.MethodSerialized("CSCN", 0,
			lock,
			aml.Store(aml.Int(0), sel),
			aml.Store(aml.Int(1), aml.Local(0)),
			aml.While(aml.Local(0),
				aml.Store(aml.Int(0), aml.Local(0)),
				aml.Store(aml.Int(cmdNextWithEvent), cmd),
				aml.If(inserted,
					aml.Call("CTFY", data, aml.Int(noteDeviceCheck)),
					aml.Store(aml.Int(1), inserted),
					aml.Store(aml.Int(1), aml.Local(0)),
				),
				aml.Else(aml.If(removed,
					aml.Call("CTFY", data, aml.Int(noteEjectRequest)),
					aml.Store(aml.Int(1), removed),
					aml.Store(aml.Int(1), aml.Local(0)),
				)),
			),
			unlock,
		),
		aml.MethodSerialized("CEJM", 1,
			lock,
			aml.Store(aml.Arg(0), sel),
			aml.Store(aml.Int(1), aml.Ref("CEJ0")),
			unlock,
		),
		aml.MethodSerialized("COST", 3,
			lock,
			aml.Store(aml.Arg(0), sel),
			aml.Store(aml.Int(cmdOSTEvent), cmd),
			aml.Store(aml.Arg(1), data),
			aml.Store(aml.Int(cmdOSTStatus), cmd),
			aml.Store(aml.Arg(2), data),
			unlock,
		),
	}
}
