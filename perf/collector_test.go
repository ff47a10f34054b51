package perf

import (
	"bytes"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"

	"dfemu/cpu"
	"dfemu/cpu/x86"
)

func TestLocate(t *testing.T) {
	fixed, pie := testProgram(t, "fixed", 0x400000, false), testProgram(t, "pie", 0, true)
	based := testProgram(t, "based", 0x1000, true)
	based.Base, based.HasBase = 0x7f0000000000, true
	l := locator{programs: []*Object{fixed, pie, based}}
	load := func(name string, at uint64) memory {
		m := memory{}
		m.put(at, testCode(name, 0x6000)...)
		return m
	}
	for _, c := range []struct {
		what string
		mem  memory
		cr3  uint64
		addr uint64
		obj  int
		link uint64
		ok   bool
	}{
		{"not loaded", memory{}, 1 << 13, 0x400010, 0, 0, false},
		{"where it is linked", load("fixed", 0x400000), 1 << 13, 0x400010, 0, 0x400010, true},
		{"another program there", load("other", 0x400000), 2 << 13, 0x400010, 0, 0, false},
		{"the other half of the same tables, with a PCID", load("fixed", 0x400000), 1<<13 | 1<<12 | 7, 0x400010, 0, 0x400010, true},
		{"anywhere, all the same", load("pie", 0x555000000000), 3 << 13, 0x555000003010, 0, 0, false},
		{"anywhere", load("pie", 0x555000000000), 3 << 13, 0x555000001010, 1, 0x1010, true},
		{"anywhere, all the same, known", load("pie", 0x555000000000), 3 << 13, 0x555000003010, 1, 0x3010, true},
		{"the same elsewhere", load("pie", 0x566000000000), 4 << 13, 0x566000005010, 1, 0x5010, true},
		{"with a base", load("based", 0x7f0000001000), 5 << 13, 0x7f0000001020, 2, 0x1020, true},
		{"near the end of its code", load("pie", 0x555000000000), 3 << 13, 0x555000005ff0, 1, 0x5ff0, true},
		{"too little code", load("pie", 0x555000000000), 3 << 13, 0x555000005ff8, 0, 0, false},
	} {
		obj, link, ok := l.locate(c.mem.read, c.cr3, c.addr)
		if ok != c.ok || obj != c.obj || link != c.link {
			t.Errorf("%s: program %d at %#x, %v; want %d at %#x, %v", c.what, obj, link, ok, c.obj, c.link, c.ok)
		}
	}
}

// testRun is a collector that has seen a kernel, moved, and a program that called it.
func testRun(t *testing.T) *Collector {
	t.Helper()
	const slide = 0x5200000
	kernel := testKernel(t)
	c := NewCollector(Config{CPUs: 2, Period: time.Millisecond, Kernel: kernel, Programs: []*Object{testProgram(t, "server", 0x400000, false)}})
	m := memory{}
	m.put(0x400000, testCode("server", 0x6000)...)
	m.put(kernel.anchor.va+slide, []byte(testBanner)...)
	const kstack = 0xffffc90000001000
	text := uint64(0xffffffff81000000 + slide)
	// loop, which do_work has called, which startup_64 has called for the program.
	m.word(kstack, text+0x50)
	m.word(kstack+8, 0)
	m.word(kstack+16, text+0x24)
	for i := range uint64(ptEnd / 8) {
		m.word(kstack+24+8*i, 0)
	}
	m.word(kstack+24+ptIP, 0x400204)
	m.word(kstack+24+ptCS, 0x33)
	m.word(kstack+24+ptSP, 0x7ffe0000)
	s := cpu.Sample{Mode: x86.Mode64, Read: m.read}
	sample := func(id, times int, rip uint64, cpl uint8, rsp uint64) {
		s.RIP, s.CPL, s.RSP = rip, cpl, rsp
		for range times {
			c.Sample(id, &s)
		}
	}
	sample(0, 1, text+0x84, 0, 0x1000) // the stack cannot be read
	sample(0, 4, text+0x84, 0, kstack)
	sample(0, 2, 0x400080, 3, 0x7ffe0000)
	sample(1, 2, 0x999000, 3, 0)           // of no program
	sample(1, 1, 0x7c00, 0, 0)             // of no kernel
	sample(1, 1, 0xffffffffc0000010, 0, 0) // of a module
	sample(9, 1, 0, 0, 0)                  // of a processor that is not there
	s.Mode = x86.Mode16
	sample(1, 1, 0xfff0, 0, 0)
	c.Exit(0, text+0x44, Cause{Port: true, Write: true, Name: "uart0"})
	c.Exit(0, text+0x44, Cause{Port: true, Write: true, Name: "uart0"})
	c.Exit(1, 0x7c04, Cause{Name: "hpet"})
	return c
}

func testReport(t *testing.T) *Report {
	return testRun(t).Report(Run{
		Accel: "interp", Start: time.Unix(1700000000, 0), Elapsed: 20 * time.Millisecond,
		Stats: []cpu.Stats{{Instructions: 1000, TLBMisses: 20}, {Instructions: 500}},
	})
}

// TestProfile writes the profile, reads it again and looks at what is in it.
func TestProfile(t *testing.T) {
	var b bytes.Buffer
	if err := testReport(t).Profile().Write(&b); err != nil {
		t.Fatal(err)
	}
	p, err := profile.Parse(&b)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckValid(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range p.Sample {
		var names []string
		for _, l := range s.Location {
			names = append(names, l.Line[0].Function.Name)
		}
		if s.Value[1] != s.Value[0]*1e6 {
			t.Errorf("%d samples stand for %d ns", s.Value[0], s.Value[1])
		}
		got = append(got, strings.Join(names, "<")+" cpu"+s.Label["cpu"][0]+
			" cpl"+strings.Join(s.Label["cpl"], "")+" "+strings.Join(s.Label["exit"], ""))
		for range s.Value[0] + s.Value[2] - 1 {
			got[len(got)-1] += "+"
		}
	}
	slices.Sort(got)
	want := []string{
		"[16-bit code] cpu1 cpl0 ",
		"[boot] cpu1 cpl read memory hpet",
		"[boot] cpu1 cpl0 ",
		"[module] cpu1 cpl0 ",
		"[user] cpu1 cpl3 +",
		"do_work cpu0 cpl write port uart0+",
		"loop cpu0 cpl0 ",
		"loop<do_work<startup_64<work cpu0 cpl0 +++",
		"main cpu0 cpl3 +",
	}
	if !slices.Equal(got, want) {
		t.Errorf("samples:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if p.PeriodType.Type != "cpu" || p.Period != 1e6 || p.DefaultSampleType != "cpu" || p.DurationNanos != 20e6 || p.TimeNanos != 1700000000e9 {
		t.Errorf("period %v %d, default %s, duration %d, time %d", p.PeriodType, p.Period, p.DefaultSampleType, p.DurationNanos, p.TimeNanos)
	}
	if f := p.Mapping[0]; f.File != "vmlinux" || f.Start != 0xffffffff81000000 || !f.HasFunctions {
		t.Errorf("the first mapping is %+v", f)
	}
	for _, l := range p.Location {
		switch {
		case l.Line[0].Function.Name == "work" && (l.Address != 0x400204 || l.Mapping.File != "server"):
			t.Errorf("work is at %#x of %s", l.Address, l.Mapping.File)
		case l.Line[0].Function.Name == "do_work" && l.Address != 0xffffffff8100004f && l.Address != 0xffffffff81000044:
			t.Errorf("do_work is at %#x", l.Address)
		}
	}
	if s := strings.Join(p.Comments, "\n"); !strings.Contains(s, "0x5200000 above") || !strings.Contains(s, "instructions: 1500") {
		t.Errorf("comments:\n%s", s)
	}
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	if err := testReport(t).Text(&b, 3); err != nil {
		t.Fatal(err)
	}
	const want = `0.020 s on interp, 12 samples, one in 1ms of each CPU that executes
kernel 66.7%, user 33.3%; cpu0 sampled 35.0 % of the time; cpu1 sampled 25.0 % of the time
the kernel was moved by 0x5200000 (KASLR); addresses are those of its file

Kernel functions
   self  with callees  samples function
  41.7%         41.7%        5 loop
   8.3%          8.3%        1 [16-bit code]
   8.3%          8.3%        1 [boot]
(3 more)

User functions
   self  with callees  samples function
  16.7%         16.7%        2 [user]
  16.7%         16.7%        2 main
   0.0%         33.3%        0 work

Blocks
   self  samples           address at
  41.7%        5  ffffffff81000084 loop+0x4
  16.7%        2            999000 [user]
  16.7%        2            400080 main+0x80
(3 more)

Exits by cause
  share  exits  per second cause, and the function most are from
  66.7%      2         100 write port uart0: do_work 100.0%
  33.3%      1          50 read memory hpet: [boot] 100.0%

Counters
  cpu0  cpu1   all  per second
  1000   500  1500       75000 instructions
    20     0    20        1000 TLB misses
`
	if got := b.String(); got != want {
		t.Errorf("report:\n%s\nwant:\n%s", got, want)
	}
	b.Reset()
	if err := NewCollector(Config{CPUs: 1}).Report(Run{}).Text(&b, 3); err != nil || !strings.Contains(b.String(), "0 samples") {
		t.Errorf("nothing collected: %v\n%s", err, b.String())
	}
}

// TestLate sees that samples taken before the kernel was found get their names, too.
func TestLate(t *testing.T) {
	const slide = 0x600000
	kernel := testKernel(t)
	kernel.SetPhysical()
	c := NewCollector(Config{CPUs: 1, Period: time.Millisecond, Kernel: kernel})
	none := func(uint64, []byte) int { return 0 }
	c.Sample(0, &cpu.Sample{Mode: x86.Mode64, RIP: 0x1000044, Read: none}) // before paging
	if got := names(c); !slices.Equal(got, []string{"do_work"}) {
		t.Errorf("at its physical address: %v", got)
	}
	kernel = testKernel(t)
	c = NewCollector(Config{CPUs: 1, Period: time.Millisecond, Kernel: kernel})
	c.Sample(0, &cpu.Sample{Mode: x86.Mode64, RIP: 0xffffffff81000044 + slide, Read: none})
	if got := names(c); !slices.Equal(got, []string{"[kernel]"}) {
		t.Errorf("before it is found: %v", got)
	}
	m := memory{}
	m.put(kernel.anchor.va+slide, []byte(testBanner)...)
	for range searchEvery {
		c.Sample(0, &cpu.Sample{Mode: x86.Mode64, RIP: 0xffffffff81000084 + slide, Read: m.read})
	}
	if got := names(c); !slices.Equal(got, []string{"do_work", "loop"}) {
		t.Errorf("after it is found: %v", got)
	}
	if v, ok := c.Slide(); !ok || v != slide {
		t.Errorf("it is moved by %#x, %v", v, ok)
	}
}

// names returns the functions that processors were in.
func names(c *Collector) (out []string) {
	for _, s := range c.Report(Run{}).stacks {
		out = append(out, s.frames[0].fn.Name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestLimits sees that a guest which makes ever new stacks takes no more than a bounded amount of memory.
func TestLimits(t *testing.T) {
	c := NewCollector(Config{CPUs: 1, Period: time.Millisecond})
	none := func(uint64, []byte) int { return 0 }
	for i := range uint64(maxStacks + 10) {
		c.Sample(0, &cpu.Sample{Mode: x86.Mode64, RIP: i, Read: none})
	}
	for i := range uint64(maxExits + 10) {
		c.Exit(0, i, Cause{Name: "x"})
	}
	r := c.Report(Run{})
	if r.Samples != maxStacks+10 || r.Lost != 10 || len(r.stacks) != maxStacks {
		t.Errorf("%d samples, %d lost, %d stacks", r.Samples, r.Lost, len(r.stacks))
	}
	if len(r.exits) != maxExits+1 || r.exits[0].n != 10 || r.exits[0].cause.Name != "others" {
		t.Errorf("%d exits, the most frequent %+v", len(r.exits), r.exits[0])
	}
}

// TestGoProgram takes the symbols of this test, which is a program in Go.
func TestGoProgram(t *testing.T) {
	if runtime.GOARCH != "amd64" || runtime.GOOS != "linux" {
		t.Skip("this test is no ELF file for the x86-64")
	}
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if o.Kernel || o.pie {
		t.Skipf("kernel %v, position-independent %v: the addresses are not those of the file", o.Kernel, o.pie)
	}
	pc := uint64(reflect.ValueOf(testReport).Pointer())
	if s, ok := o.Lookup(pc + 1); !ok || s.Name != "dfemu/perf.testReport" || s.Addr != pc {
		t.Errorf("testReport at %#x is %+v, %v", pc, s, ok)
	}
	file, line := o.lines(pc)
	wantFile, wantLine := runtime.FuncForPC(uintptr(pc)).FileLine(uintptr(pc))
	if file != wantFile || line != wantLine {
		t.Errorf("testReport is at %s:%d, want %s:%d", file, line, wantFile, wantLine)
	}
}
