package apic

import (
	"fmt"
	"strings"
	"testing"
)

// ldrs sets logical destinations and the model of all processors.
func (r *rig) ldrs(dfr uint32, l ...uint32) *rig {
	for i, v := range l {
		r.set(i, regDFR, dfr)
		r.set(i, regLDR, v<<24)
	}
	return r
}

func TestXAPICDestinations(t *testing.T) {
	flat := []uint32{1, 2, 4, 8}
	cluster := []uint32{0x11, 0x12, 0x21, 0x22}
	const log = icrLogical
	for _, c := range []struct {
		name string
		dfr  uint32
		ldr  []uint32
		icr  uint32
		dest uint32
		want string
	}{
		{"physical", 0xffffffff, flat, 0, 2, "2"},
		{"physical, itself", 0xffffffff, flat, 0, 1, "1"},
		{"physical, nobody", 0xffffffff, flat, 0, 9, ""},
		{"physical broadcast", 0xffffffff, flat, 0, 0xff, "0123"},
		{"flat, one", 0xffffffff, flat, log, 4, "2"},
		{"flat, several", 0xffffffff, flat, log, 0xb, "013"},
		{"flat, nobody", 0xffffffff, flat, log, 0xf0, ""},
		{"flat, nothing", 0xffffffff, flat, log, 0, ""},
		{"flat broadcast", 0xffffffff, []uint32{0, 0, 0, 1}, log, 0xff, "0123"},
		{"cluster, one", 0x0fffffff, cluster, log, 0x21, "2"},
		{"cluster, both", 0x0fffffff, cluster, log, 0x13, "01"},
		{"cluster, all members", 0x0fffffff, cluster, log, 0x2f, "23"},
		{"cluster, other cluster", 0x0fffffff, cluster, log, 0x3f, ""},
		{"cluster broadcast", 0x0fffffff, cluster, log, 0xff, "0123"},
		{"no model", 0x5fffffff, flat, log, 1, ""},
		{"self", 0xffffffff, flat, destSelf << icrShorthand, 3, "1"},
		{"all", 0xffffffff, flat, destAll << icrShorthand, 3, "0123"},
		{"others", 0xffffffff, flat, destOthers << icrShorthand, 3, "023"},
	} {
		r := newRig(t, 4).on(false).ldrs(c.dfr, c.ldr...)
		r.set(1, regICR2, c.dest<<24)
		r.set(1, regICR, c.icr|icrAssert|0x91)
		if got := r.got(0x91); got != c.want {
			t.Errorf("%s: IPI reached %q, want %q", c.name, got, c.want)
		}
		r.want(1, regICR, c.icr|icrAssert|0x91, c.name+": delivered, so idle")
		if c.icr>>icrShorthand != 0 {
			continue
		}
		// The same as an MSI.
		addr := uint64(0xfee00000 | c.dest<<12)
		if c.icr&log != 0 {
			addr |= msiLogical
		}
		r.SendMSI(addr, 0x92)
		if got := r.got(0x92); got != c.want {
			t.Errorf("%s: MSI reached %q, want %q", c.name, got, c.want)
		}
	}
}

func TestX2APICDestinations(t *testing.T) {
	for _, c := range []struct {
		name string
		icr  uint64
		want string
	}{
		{"physical", 18 << 32, "12"},
		{"physical, 255 is not the broadcast", 255 << 32, ""},
		{"physical broadcast", 0xffffffff << 32, "0123456789abcdef10111213"},
		{"logical, cluster 0", 0x0000_8003<<32 | icrLogical, "01f"},
		{"logical, cluster 1", 0x0001_000f<<32 | icrLogical, "10111213"},
		{"logical, no such cluster", 0x0002_000f<<32 | icrLogical, ""},
		{"logical broadcast", 0xffffffff<<32 | icrLogical, "0123456789abcdef10111213"},
		{"others", destOthers << icrShorthand, "012456789abcdef10111213"},
	} {
		r := newRig(t, 20).on(true)
		if !r.APIC(3).WriteMSR(MSRFirst+regICR, c.icr|0x91) {
			t.Errorf("%s: #GP", c.name)
		}
		if got := r.got(0x91); got != c.want {
			t.Errorf("%s: reached %q, want %q", c.name, got, c.want)
		}
	}
	r := newRig(t, 20).on(true)
	for id, want := range map[int]uint64{0: 1, 5: 1 << 5, 15: 1 << 15, 19: 1<<16 | 1<<3} {
		if v, ok := r.APIC(id).ReadMSR(MSRFirst + regLDR); !ok || v != want {
			t.Errorf("LDR of %d is %#x (%v), want %#x", id, v, ok, want)
		}
	}
}

func TestMSIExtendedDestination(t *testing.T) {
	r := newRig(t, 300).on(true)
	r.SendMSI(0xfee00000|(290&0xff)<<12|290>>8<<5, 0x91)
	for i, a := range r.apics {
		if _, ok := a.Pending(); ok != (i == 290) {
			t.Errorf("MSI to 290: processor %d: %v", i, ok)
		}
	}
	r.APIC(290).Accept(0x91)
	r.told()
	for _, addr := range []uint64{0, 0xfed00000, 0xfef00000, 0x1_fee00000, ^uint64(0)} {
		r.SendMSI(addr, 0x91)
	}
	r.expect("addresses outside the window")
}

func TestDeliveryModes(t *testing.T) {
	for _, c := range []struct {
		name string
		mode uint32
		ipi  string
		msi  string
	}{
		{"SMI", dmSMI, "", ""},
		{"reserved", 3, "", ""},
		{"NMI", dmNMI, "1:NMI", "1:NMI"},
		{"INIT", dmINIT, "1:INIT", "1:INIT"},
		{"SIPI", dmSIPI, "1:SIPI 0x9a", ""},
		{"ExtINT", dmExtINT, "", "1:ExtINT"},
	} {
		r := newRig(t, 2).on(false)
		r.set(0, regICR2, 1<<24)
		r.set(0, regICR, icrAssert|c.mode<<8|0x9a)
		if got := strings.Join(r.told(), ","); got != c.ipi {
			t.Errorf("IPI %s: %q, want %q", c.name, got, c.ipi)
		}
		r.SendMSI(0xfee01000, c.mode<<8|0x9a)
		if got := strings.Join(r.told(), ","); got != c.msi {
			t.Errorf("MSI %s: %q, want %q", c.name, got, c.msi)
		}
		r.pending(1, c.name, 0)
	}
	r := newRig(t, 2).on(false)
	r.set(0, regICR2, 1<<24)
	r.set(0, regICR, icrLevel|dmINIT<<8)
	r.expect("INIT level de-assert")
	r.set(0, regICR, icrLevel|icrAssert|dmINIT<<8)
	r.expect("INIT level assert", "1:INIT")
}

func TestLowestPriority(t *testing.T) {
	const addr = 0xfee00000 | 0xff<<12 | msiLogical
	for _, c := range []struct {
		name string
		tpr  [4]uint32
		isr  [4]uint8
		irr  [4]uint8
		dest uint64
		want string
	}{
		{"by task priority", [4]uint32{0x40, 0x30, 0x20, 0x50}, [4]uint8{}, [4]uint8{}, 0xff, "2"},
		{"of those addressed", [4]uint32{0x40, 0x30, 0x20, 0x50}, [4]uint8{}, [4]uint8{}, 0x3, "1"},
		{"in service counts", [4]uint32{}, [4]uint8{0x41, 0x31, 0x51, 0x61}, [4]uint8{}, 0xff, "1"},
		{"requested counts", [4]uint32{}, [4]uint8{}, [4]uint8{0x41, 0x51, 0x61, 0x31}, 0xff, "3"},
		{"task or service", [4]uint32{0x80, 0, 0, 0}, [4]uint8{0, 0x91, 0xa1, 0xb1}, [4]uint8{}, 0xff, "0"},
	} {
		for _, how := range []string{"mode", "hint", "IPI"} {
			r := newRig(t, 4).on(false).ldrs(0xffffffff, 1, 2, 4, 8)
			for i, a := range r.apics {
				if c.isr[i] != 0 {
					a.post(c.isr[i], false)
					r.take(i, c.isr[i])
				}
				r.set(i, regTPR, c.tpr[i])
				if c.irr[i] != 0 {
					a.post(c.irr[i], false)
				}
			}
			to := addr&^uint64(0xff<<12) | c.dest<<12
			switch how {
			case "mode":
				r.SendMSI(to, dmLowest<<8|0xe1)
			case "hint":
				r.SendMSI(to|msiHint, 0xe1)
			case "IPI":
				r.set(3, regICR2, uint32(c.dest)<<24)
				r.set(3, regICR, icrAssert|icrLogical|dmLowest<<8|0xe1)
			}
			if got := r.got(0xe1); got != c.want {
				t.Errorf("%s, by %s: went to %q, want %q", c.name, how, got, c.want)
			}
		}
	}
	// Equals take turns, and one that is off is left out.
	r := newRig(t, 4).on(false).ldrs(0xffffffff, 1, 2, 4, 8)
	r.set(2, regSVR, 0xff)
	order := ""
	for range 6 {
		r.SendMSI(addr, dmLowest<<8|0xe1)
		order += r.got(0xe1)
	}
	if order != "013013" {
		t.Errorf("equal priorities went to %s, want 013013", order)
	}
	// The hint means nothing for a physical destination.
	r.SendMSI(0xfee01000|msiHint, 0xe1)
	if got := r.got(0xe1); got != "1" {
		t.Errorf("physical with hint went to %q", got)
	}
}

// A message from an APIC in one mode reaches those in the other.
func TestMixedModes(t *testing.T) {
	r := newRig(t, 3).on(false).ldrs(0xffffffff, 1, 2, 4)
	a := r.APIC(2)
	b, _ := a.ReadMSR(MSRBase)
	if !a.WriteMSR(MSRBase, b|baseX2) {
		t.Fatal("no x2APIC mode")
	}
	r.set(0, regICR2, 2<<24)
	r.set(0, regICR, icrAssert|0x91)
	if got := r.got(0x91); got != "2" {
		t.Errorf("xAPIC to x2APIC: %q", got)
	}
	for dest, want := range map[uint64]string{0: "0", 1: "1", 0xff: "", 0x100: "", 0xffffffff: "012"} {
		a.WriteMSR(MSRFirst+regICR, dest<<32|0x91)
		if got := r.got(0x91); got != want {
			t.Errorf("x2APIC to %#x: %q, want %q", dest, got, want)
		}
	}
}

func TestINTR(t *testing.T) {
	r := newRig(t, 2)
	all := func(what, want string) {
		t.Helper()
		got := ""
		for i, a := range r.apics {
			if a.ExtINT() {
				got += fmt.Sprint(i)
			}
		}
		if got != want {
			t.Errorf("%s: ExtINT on %q, want %q", what, got, want)
		}
	}
	r.told()
	r.SetINTR(true)
	all("before software turns APICs on", "0")
	r.expect("before software turns APICs on", "0:ExtINT")
	r.on(false)
	all("on, LINT0 masked", "")
	r.told()
	r.set(1, regLVTLINT0, dmExtINT<<8)
	r.expect("LINT0 of 1 connected to the asserted line", "1:ExtINT")
	all("LINT0 of 1 connected", "1")
	r.SetINTR(false)
	all("line low", "")
	r.SetINTR(false)
	r.expect("line low")
	r.SetINTR(true)
	r.SetINTR(true)
	r.expect("line high", "1:ExtINT")
	r.set(1, regLVTLINT0, lvtMasked|dmExtINT<<8)
	all("masked", "")
	r.APIC(1).WriteMSR(MSRBase, DefaultBase)
	r.expect("globally off", "1:ExtINT")
	all("globally off", "1")
	r.SetINTR(false)

	// By message: kept until acknowledged.
	r.SendMSI(0xfee00000, dmExtINT<<8)
	all("message", "0")
	r.APIC(0).AcceptExtINT()
	all("message acknowledged", "")
}

func TestLINT0Fixed(t *testing.T) {
	r := newRig(t, 1).on(false)
	r.set(0, regLVTLINT0, 0x61)
	pulse := func() { r.SetINTR(true); r.SetINTR(false) }
	pulse()
	r.take(0, 0x61)
	r.set(0, regEOI, 0)
	r.pending(0, "edge", 0)

	r.set(0, regLVTLINT0, lvtLevel|0x62)
	r.SetINTR(true)
	r.want(0, regLVTLINT0, lvtLevel|lvtRemoteIRR|0x62, "level")
	r.take(0, 0x62)
	r.pending(0, "in service", 0)
	r.set(0, regEOI, 0)
	r.take(0, 0x62) // still asserted
	r.SetINTR(false)
	r.set(0, regEOI, 0)
	r.pending(0, "level gone", 0)
	r.want(0, regLVTLINT0, lvtLevel|0x62, "level gone")

	r.told()
	r.set(0, regLVTLINT0, dmNMI<<8)
	pulse()
	r.expect("LINT0 as NMI", "0:NMI")
}

func TestLINT1(t *testing.T) {
	r := newRig(t, 2)
	r.told()
	r.Fabric.NMI()
	r.expect("before software turns APICs on", "0:NMI")
	r.on(false)
	r.Fabric.NMI()
	r.expect("masked")
	r.set(0, regLVTLINT1, dmNMI<<8)
	r.set(1, regLVTLINT1, 0x44)
	r.Fabric.NMI()
	r.expect("NMI and fixed", "0:NMI", "1:interrupt")
	r.pending(1, "fixed", 0x44)
	r.set(1, regLVTLINT1, dmINIT<<8)
	r.set(0, regLVTLINT1, dmExtINT<<8)
	r.Fabric.NMI()
	r.expect("ExtINT and INIT", "0:ExtINT", "1:INIT")
	if !r.APIC(0).ExtINT() {
		t.Error("ExtINT on LINT1 is lost")
	}
}

func TestLocalSources(t *testing.T) {
	r := newRig(t, 1).on(false)
	r.set(0, regLVTPerf, dmNMI<<8)
	r.APIC(0).PerfMon()
	r.APIC(0).PerfMon()
	r.expect("the entry masks itself", "0:NMI")
	r.want(0, regLVTPerf, lvtMasked|dmNMI<<8, "the entry masks itself")
	r.set(0, regLVTThermal, 0x47)
	r.APIC(0).Thermal()
	r.pending(0, "thermal", 0x47)
}
