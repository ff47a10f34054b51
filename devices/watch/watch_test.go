package watch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/devtest"
)

// gadget is a device with two registers.
type gadget struct {
	probe devices.Probe
	v     [3]uint64
}

var gadgetBank = devices.NewBank("gadget", []devices.Register{
	{Offset: 0, Size: 4, Name: "CTRL", Fields: []devices.Field{{Name: "EN", Lo: 0, Hi: 0}, {Name: "MODE", Lo: 4, Hi: 7}}},
	{Offset: 4, Size: 4, Name: "STAT", Rights: devices.RO},
	{Offset: 8, Size: 4, Name: "BELL", Count: 2, Stride: 4, Doorbell: true},
})

func (g *gadget) ReadRegister(r devices.Reg, _ uint64) uint64 { return g.v[r.ID] }
func (g *gadget) WriteRegister(r devices.Reg, v, mask uint64) { g.v[r.ID] = g.v[r.ID]&^mask | v }

func (g *gadget) region() devices.Region {
	return devices.WatchRegion(&g.probe, gadgetBank, g.plain())
}

func (g *gadget) plain() devices.Region {
	return devices.RegionFuncs{
		ReadFunc:  func(off uint64, size int) (uint64, error) { return gadgetBank.Read(g, off, size) },
		WriteFunc: func(off uint64, size int, v uint64) error { return gadgetBank.Write(g, off, size, v) },
	}
}

// use does one of everything.
func (g *gadget) use() {
	r := g.region()
	_ = r.Write(0, 4, 0x31)
	_, _ = r.Read(4, 4)
	_ = r.Write(4, 4, 1)
	_ = r.Write(12, 4, 5)
	c := &devices.Command{Queue: 1, Tag: 7, Name: "READ DMA", Opcode: 0xc8, LBA: 16, Blocks: 8, Bytes: 4096,
		Fields: func() []devices.FieldValue { return []devices.FieldValue{{Name: "FUA", Value: 1}} }}
	g.probe.Command(c)
	g.probe.DMA(devices.Transfer{Addr: 0x1000, Bytes: 4096, Write: true, What: "data"})
	g.probe.Completion(c, devices.Status{Code: 0, Name: "OK"})
	g.probe.Interrupt(devices.Interrupt{Vector: 2})
	g.probe.Interrupt(devices.Interrupt{Vector: -1, Level: true})
	g.probe.State("link down")
	g.probe.Violation(devices.Violation{Clause: "SPEC 1.2", Text: "doorbell outside the queue", Queue: 1})
}

func watched(t *testing.T, spec string, f Format, s *Strict) (*gadget, *Watcher, *Trace, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	o := Options{Strict: s, Now: func() int64 { return 1500 }, Place: func() Place { return Place{CPU: 1, RIP: 0xffff, Symbol: "probe+0x4"} }}
	if spec != "" {
		tr, err := NewTrace(spec, f, &out)
		if err != nil {
			t.Fatal(err)
		}
		o.Trace = tr
	}
	g := &gadget{}
	w := New(o)
	w.Attach("gadget0", &g.probe)
	return g, w, o.Trace, &out
}

func TestTrace(t *testing.T) {
	for _, c := range []struct {
		spec  string
		lines []string // each is part of the line
	}{
		{"all", []string{
			"W32 CTRL = 0x31 {EN MODE=0x3}  cpu1 0xffff probe+0x4", "R32 STAT = 0x0", "W32 STAT = 0x1", "W32 BELL[1] = 0x5",
			"q1 tag 7 READ DMA lba 16+8 {FUA}  cpu1 0xffff probe+0x4", "data: 4096 bytes to 0x1000", "READ DMA lba 16+8 -> OK (0x0)",
			"MSI 2", "INTx raised", "link down", "doorbell outside the queue [SPEC 1.2]",
		}},
		{"cmd", []string{"q1 tag 7 READ DMA lba 16+8 {FUA}  cpu1 0xffff probe+0x4", "-> OK"}},
		{"gadget*:reg:CT*", []string{"CTRL"}},
		{"gadget1:reg", nil},
		{"gadget0:irq+dma,gadget0:state", []string{"data", "MSI 2", "INTx", "link"}},
	} {
		g, _, tr, out := watched(t, c.spec, Text, nil)
		g.use()
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if out.Len() == 0 {
			lines = nil
		}
		if len(lines) != len(c.lines) {
			t.Errorf("%s: %d lines, want %d:\n%s", c.spec, len(lines), len(c.lines), out)
			continue
		}
		for i, l := range lines {
			if !strings.Contains(l, c.lines[i]) || !strings.Contains(l, "gadget0") {
				t.Errorf("%s: line %d is %q, want %q", c.spec, i, l, c.lines[i])
			}
		}
	}
}

func TestTraceErrors(t *testing.T) {
	for _, spec := range []string{"", "a:b", "a:reg+x", "[:reg", ",", "nvme0:"} {
		if _, err := NewTrace(spec, Text, nil); err == nil {
			t.Errorf("%q is accepted", spec)
		}
	}
	if _, err := ParseFormat("xml"); err == nil {
		t.Error("format xml is accepted")
	}
}

// TestFormats checks that the machine-readable traces can be read.
func TestFormats(t *testing.T) {
	g, _, tr, out := watched(t, "all", JSON, nil)
	g.use()
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for l := range strings.Lines(out.String()) {
		var e map[string]any
		if err := json.Unmarshal([]byte(l), &e); err != nil || e["device"] != "gadget0" || e["ns"] != 1500.0 {
			t.Errorf("line %q: %v", l, err)
		}
		if e["kind"] == "cmd" && (e["cpu"] != 1.0 || e["rip"] != "0xffff") {
			t.Errorf("line %q: the command has not the place of its doorbell", l)
		}
		n++
	}
	if n != 11 {
		t.Errorf("%d lines of JSON, want 11", n)
	}
	g, _, tr, out = watched(t, "all", Perfetto, nil)
	g.use()
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	var file struct {
		TraceEvents []map[string]any
	}
	if err := json.Unmarshal(out.Bytes(), &file); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	phases := map[any]int{}
	for _, e := range file.TraceEvents {
		phases[e["ph"]]++
	}
	if phases["X"] != 1 || phases["i"] < 5 || phases["M"] != 8 {
		t.Errorf("phases %v", phases)
	}
}

// TestPerfettoTracks checks that each queue and interrupt line has a track, and that no slices of a track overlap.
func TestPerfettoTracks(t *testing.T) {
	var out bytes.Buffer
	tr, err := NewTrace("all", Perfetto, &out)
	if err != nil {
		t.Fatal(err)
	}
	at := int64(0)
	emit := func(e Event) {
		at += 1000
		e.Time, e.Device, e.Place = at, "disk0", Place{CPU: -1}
		tr.emit(&e)
	}
	take := func(queue, tag int) { emit(Event{Kind: KindCommand, Name: "READ", Queue: queue, Tag: tag}) }
	end := func(queue, tag int) {
		emit(Event{Kind: KindCompletion, Name: "READ", Queue: queue, Tag: tag, Status: "OK"})
	}
	take(1, 7)
	take(1, 8)
	take(2, 7)
	end(1, 7)
	take(1, 9) // in the first lane again
	end(2, 7)
	end(1, 8)
	take(1, 9) // after a reset that nobody reported
	end(1, 5)  // of a command from before the trace
	emit(Event{Kind: KindInterrupt, Vector: -1, Level: true})
	emit(Event{Kind: KindInterrupt, Vector: -1})
	emit(Event{Kind: KindInterrupt, Vector: 3})
	emit(Event{Kind: KindInterrupt, Vector: 4})
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	var file struct {
		TraceEvents []struct {
			Name, Ph string
			TS, Dur  float64
			TID      int
			Args     map[string]any
		}
	}
	if err := json.Unmarshal(out.Bytes(), &file); err != nil {
		t.Fatalf("%v:\n%s", err, out.String())
	}
	names := map[int]string{}
	got := map[string][]string{}
	until := map[int]float64{}
	for _, e := range file.TraceEvents {
		if e.Name == "thread_name" {
			names[e.TID] = e.Args["name"].(string)
			continue
		}
		got[names[e.TID]] = append(got[names[e.TID]], fmt.Sprintf("%s%v+%v", e.Ph, e.TS, e.Dur))
		if e.Ph == "X" {
			if e.TS < until[e.TID] {
				t.Errorf("track %s: a slice begins at %v, the one before ends at %v", names[e.TID], e.TS, until[e.TID])
			}
			until[e.TID] = e.TS + e.Dur
		}
	}
	for track, want := range map[string]string{
		"queue 1": "[X1+3 X5+3 i9+0 X8+5]", "queue 1 (2)": "[X2+5]", "queue 2": "[X3+3]",
		"INTx": "[B10+0 E11+0]", "MSI 3": "[i12+0]", "MSI 4": "[i13+0]",
	} {
		if s := fmt.Sprint(got[track]); s != want {
			t.Errorf("track %s: %s, want %s", track, s, want)
		}
	}
}

// BenchmarkOff is what a device that nobody watches pays for an access to a register, beside the same access without a probe.
func BenchmarkOff(b *testing.B) {
	g := &gadget{}
	for name, r := range map[string]devices.Region{"plain": devices.WatchRegion(nil, nil, g.plain()), "watchable": g.region()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = r.Write(0, 4, 1)
			}
		})
	}
	b.Run("command", func(b *testing.B) {
		for b.Loop() {
			if g.probe.Faulty() || g.probe.Wants(devices.ClassCommand|devices.ClassDMA) {
				b.Fatal("somebody watches")
			}
		}
	})
}

func TestOff(t *testing.T) {
	g := &gadget{}
	w := New(Options{})
	w.Attach("gadget0", &g.probe)
	if g.probe.Wants(^devices.Class(0)) || g.probe.Faulty() {
		t.Error("a watcher of nothing wants events")
	}
	r := g.region()
	if n := testing.AllocsPerRun(100, func() { _ = r.Write(0, 4, 1); g.probe.Command(nil) }); n != 0 {
		t.Errorf("%v allocations while off", n)
	}
}

func TestStrict(t *testing.T) {
	var got []string
	stops := 0
	s := &Strict{Report: func(e *Event) { got = append(got, e.Text()) }, Stop: func(*Event) { stops++ }}
	g, _, _, _ := watched(t, "", Text, s)
	g.use()
	g.use()
	if len(got) != 2 || !strings.Contains(got[0], "write to the read-only register STAT") || !strings.Contains(got[1], "[SPEC 1.2]") {
		t.Errorf("reports %q", got)
	}
	if stops != 1 || s.Count() != 4 {
		t.Errorf("%d stops, %d violations", stops, s.Count())
	}
}

// TestReservedBits looks at writes to parts of a register.
// TestFreed checks what is said of transfers from and to memory that is not the guest's at present.
func TestFreed(t *testing.T) {
	var got []string
	g := &gadget{}
	w := New(Options{
		Strict: &Strict{Report: func(e *Event) { got = append(got, e.Name) }},
		Freed:  func(addr, n uint64) bool { return addr+n > 0x2000 && addr < 0x3000 },
	})
	w.Attach("gadget0", &g.probe)
	if !g.probe.Wants(devices.ClassDMA) {
		t.Fatal("transfers are not looked at")
	}
	for _, x := range []devices.Transfer{
		{Addr: 0x1000, Bytes: 0x1000, What: "data"}, {Addr: 0x1fff, Bytes: 2, What: "list"}, {Addr: 0x2ff0, Bytes: 64, Write: true, What: "data"},
		{Addr: 0x2000, Bytes: 0, What: "data"}, {Addr: 0x2000, Bytes: 0x1000, Write: true, Discard: true, What: "discard"}, {Addr: 0x3000, Bytes: 8},
	} {
		g.probe.DMA(x)
	}
	want := []string{
		"2 bytes of memory at 0x1fff are read (list), which the guest has given to the balloon",
		"64 bytes of memory at 0x2ff0 are written (data), which the guest has given to the balloon",
	}
	if !slices.Equal(got, want) {
		t.Errorf("reports %q", got)
	}
}

func TestReservedBits(t *testing.T) {
	bank := devices.NewBank("dev", []devices.Register{{Offset: 4, Size: 4, Name: "CTL", Reserved: 0xff00_0ff0}, {Offset: 8, Size: 4, Name: "DATA"}})
	for _, c := range []struct {
		off  uint64
		size int
		v    uint64
		want string
	}{
		{4, 4, 0x00ff_f00f, ""},
		{4, 4, 0x0100_0010, "the reserved bits 0x1000010 of CTL are written as 1"},
		{5, 1, 0xf0, ""},
		{5, 1, 0x0f, "the reserved bits 0xf00 of CTL"},
		{6, 2, 0x8000, "the reserved bits 0x80000000 of CTL"},
		{8, 4, 0xffffffff, ""},
	} {
		for _, write := range []bool{false, true} {
			l := checkAccess(&devices.RegisterAccess{Bank: bank, Off: c.off, Size: c.size, Write: write, Value: c.v})
			if want := write && c.want != ""; (len(l) == 1) != want || want && !strings.Contains(l[0].Text, c.want) {
				t.Errorf("%+v, write %v: %+v", c, write, l)
			}
		}
	}
}

func TestFaults(t *testing.T) {
	read := devices.Command{Name: "READ DMA", Opcode: 0xc8, LBA: 100, Blocks: 8, Queue: 2}
	for _, c := range []struct {
		rule string
		want []bool // for ten commands one after the other
	}{
		{"*,fail", []bool{true, true, true}},
		{"disk0,op=*read*,nth=2,fail=0x51", []bool{false, true, false}},
		{"disk0,op=0xc8,every=2,delay=1ms", []bool{false, true, false, true}},
		{"disk0,op=write,fail", []bool{false}},
		{"disk1,fail", []bool{false}},
		{"disk0,lba=107,drop,times=1", []bool{true, false}},
		{"disk0,lba=108-200,drop", []bool{false}},
		{"disk0,lba=0-100,hang", []bool{true}},
		{"disk0,queue=3,fail", []bool{false}},
		{"disk0,admin=yes,fail", []bool{false}},
		{"disk0,after=2us,fail", []bool{false}},
		{"disk0,until=1us,fail", []bool{false}},
		{"disk0,p=0,fail", []bool{false, false}},
	} {
		r, err := ParseRule(c.rule)
		if err != nil {
			t.Fatal(err)
		}
		f := &Faults{}
		f.Add(r)
		for i, want := range c.want {
			e, text := f.decide("disk0", &read, 1500)
			if got := text != ""; got != want {
				t.Errorf("%s: command %d: %v, want %v", c.rule, i, got, want)
			}
			e.Seed = 0
			if want && e != r.Effect || !want && e != (devices.Effect{}) {
				t.Errorf("%s: effect %+v", c.rule, e)
			}
		}
	}
	// One bit of an address, or any.
	r, err := ParseRule("x,flip-table=33")
	if err != nil || r.Effect.FlipTable != 1<<33 {
		t.Errorf("%v, effect %+v", err, r.Effect)
	}
	if r, err = ParseRule("x,flip-table"); err != nil {
		t.Fatal(err)
	}
	f := &Faults{}
	f.Add(r)
	seen := map[int]int{}
	for range 400 {
		e, _ := f.decide("x", &read, 0)
		if seen[bits.TrailingZeros64(e.FlipTable)]++; e.FlipTable&(e.FlipTable-1) != 0 {
			t.Errorf("the bits %#x are inverted", e.FlipTable)
		}
	}
	if len(seen) != addressBits || slices.Max(slices.Collect(maps.Keys(seen))) != addressBits-1 {
		t.Errorf("bits %v", seen)
	}
	// The same seed makes the same decisions, another one others.
	run := func(rule string) (s string) {
		r, err := ParseRule(rule)
		if err != nil {
			t.Fatal(err)
		}
		f := &Faults{}
		f.Add(r)
		for range 64 {
			_, text := f.decide("x", &read, 0)
			s += map[bool]string{true: "1", false: "0"}[text != ""]
		}
		return s
	}
	a, b, other := run("x,p=0.5,seed=9,drop"), run("x,p=0.5,seed=9,drop"), run("x,p=0.5,seed=10,drop")
	if a != b || a == other || !strings.Contains(a, "1") || !strings.Contains(a, "0") {
		t.Errorf("decisions %s, %s, %s", a, b, other)
	}
}

func TestFaultErrors(t *testing.T) {
	for _, s := range []string{"", "fail", "disk0", "disk0,op=read", "disk0,fail,lba=5-2", "disk0,p=2,fail", "disk0,delay=5", "disk0,x", "disk0,nth=x,fail",
		"[,fail", "disk0,admin=maybe,fail", "disk0,short,fail=x",
		"disk0,remove,power-loss", "disk0,remove=1s", "disk0,link-down=x", "disk0,at=1s,fail", "disk0,at=1s,remove,drop", "disk0,at=x,remove",
		"disk0,at=1s,op=read,remove", "disk0,flip-table=64", "disk*,at=1s,remove", "disk0,at,remove"} {
		if r, err := ParseRule(s); err == nil && s != "fail" {
			t.Errorf("%q is accepted: %+v", s, r)
		}
	}
	if _, err := ReadRules(strings.NewReader("# comment\n\nx,fail\nbad\n")); err == nil || !strings.Contains(err.Error(), "line 4") {
		t.Errorf("error %v", err)
	}
}

// TestActs checks when the acts of rules are carried out, what becomes of the command, and of others after it.
func TestActs(t *testing.T) {
	hang := devices.Effect{Hang: true}
	for _, c := range []struct {
		rule string
		want Act
		e    devices.Effect // of the first command
		dark bool           // others have no effect any more
	}{
		{"disk0,op=read,link-down", Act{Kind: LinkDown, Device: "disk0"}, devices.Effect{}, false},
		{"disk0,op=read,times=1,hang,link-down=3ms", Act{Kind: LinkDown, For: 3e6, Device: "disk0"}, hang, false},
		{"disk*,link-up,drop", Act{Kind: LinkUp, Device: "disk0"}, devices.Effect{Drop: true}, false},
		{"disk0,nth=1,remove", Act{Kind: Remove, Device: "disk0"}, hang, false},
		{"disk0,nth=1,power-loss", Act{Kind: PowerLoss, Device: "disk0"}, hang, true},
		{"nic0,at=2us,link-down=1s", Act{Kind: LinkDown, For: 1e9, Device: "nic0"}, devices.Effect{}, false},
		{"*,at=2us,power-loss", Act{Kind: PowerLoss, Device: "*"}, devices.Effect{}, true},
	} {
		t.Run(c.rule, func(t *testing.T) {
			r, err := ParseRule(c.rule)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan Act, 10)
			f := &Faults{Do: func(a Act) { done <- a }}
			f.Add(r)
			clock := devtest.NewClock(time.Time{})
			w := New(Options{Faults: f, Now: clock.Now, Timer: clock.NewTimer})
			disk, other := &gadget{}, &gadget{}
			w.Attach("disk0", &disk.probe)
			w.Attach("other0", &other.probe)
			cmd := &devices.Command{Name: "READ"}
			e := disk.probe.Decide(cmd)
			e.Seed = 0
			if e != c.e {
				t.Errorf("effect %+v, want %+v", e, c.e)
			}
			if r.Timed {
				cmd = nil
				clock.Advance(1999)
				if n := len(done); n != 0 {
					t.Errorf("%d acts before their time", n)
				}
				clock.Advance(1)
			}
			got := <-done
			c.want.Rule, c.want.Command = c.rule, cmd
			if got != c.want {
				t.Errorf("act %+v, want %+v", got, c.want)
			}
			if e := other.probe.Decide(&devices.Command{Name: "WRITE"}); e.Hang != c.dark {
				t.Errorf("another device's command has the effect %+v", e)
			}
			w.Refresh()
			clock.Advance(1e9)
			if _, n := f.List(); n[0] != 1 || len(done) != 0 {
				t.Errorf("applied %d times", n[0])
			}
		})
	}
	// A rule that is taken away before its time does nothing.
	f := &Faults{Do: func(a Act) { t.Errorf("act %+v", a) }}
	clock := devtest.NewClock(time.Time{})
	w := New(Options{Faults: f, Now: clock.Now, Timer: clock.NewTimer})
	r, err := ParseRule("nic0,at=1s,link-down")
	if err != nil {
		t.Fatal(err)
	}
	f.Add(r)
	w.Refresh()
	f.Remove("")
	clock.Advance(2e9)
	if r.done != 0 {
		t.Error("a rule that was removed is applied")
	}
}

func TestFaultAtRunTime(t *testing.T) {
	g := &gadget{}
	f := &Faults{}
	w := New(Options{Faults: f})
	w.Attach("gadget0", &g.probe)
	if g.probe.Faulty() {
		t.Error("faults without rules")
	}
	r, err := ParseRule("gadget*,fail=3")
	if err != nil {
		t.Fatal(err)
	}
	f.Add(r)
	w.Refresh()
	if e := g.probe.Decide(&devices.Command{}); !e.Fail || e.Status != 3 {
		t.Errorf("effect %+v", e)
	}
	if f.Remove("") != 1 {
		t.Error("the rule was not removed")
	}
	w.Refresh()
	if g.probe.Faulty() {
		t.Error("faulty after removal")
	}
}

func FuzzParseRule(f *testing.F) {
	for _, s := range []string{"nvme0,op=read,lba=1-2,nth=3,fail=0x281", "*,p=0.5,seed=3,drop,flip=9", "a,after=1s,until=2h,short=512,hold=2", "a,at=1s,link-down=2s", "a,nth=3,remove", "*,at=1s,power-loss"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRule(s)
		if err != nil {
			return
		}
		fs := &Faults{}
		fs.Add(r)
		fs.decide("nvme0", &devices.Command{Name: "READ", Blocks: 1}, 1)
	})
}

func FuzzTraceSpec(f *testing.F) {
	for _, s := range []string{"all", "nvme0:cmd+irq,ahci*:reg:PxCI*", "x:dma"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tr, err := NewTrace(s, JSON, &bytes.Buffer{})
		if err != nil {
			return
		}
		tr.emit(&Event{Device: "nvme0", Kind: KindDMA, Place: Place{CPU: -1}})
		tr.classes("ahci1")
	})
}
