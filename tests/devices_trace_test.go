package tests

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dfemu/devices/network"
	"dfemu/devices/pci"
	"dfemu/devices/virtio/rng"
	"dfemu/devices/watch"
	"dfemu/machine"
	"dfemu/perf"
)

// traceScript uses a disk once, after everything has settled.
const traceScript = `
waitfor test -b /dev/vda
check read dd if=/dev/vda of=/dev/null bs=4096 skip=3 count=1 iflag=direct
check write dd if=/dev/zero of=/dev/vda bs=4096 seek=5 count=1 oflag=direct
`

// traced runs traceScript with a trace of spec and returns the trace.
func traced(t *testing.T, spec string, f watch.Format) string {
	t.Helper()
	g := guest{script: traceScript, Config: machine.Config{Disks: []machine.Disk{disk(t, "mem:4M,if=virtio")}, Cmdline: "nokaslr"}}
	var out bytes.Buffer
	tr, err := watch.NewTrace(spec, f, &out)
	if err != nil {
		t.Fatal(err)
	}
	c, screen := g.config(t)
	symbols, err := perf.Open(c.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	c.Watch = &machine.Watch{Trace: tr, Symbol: symbols.Name}
	start(t, c, screen)()
	g.judge(t, screen.String())
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// inOrder finds a line for each pattern, behind that of the one before.
func inOrder(t *testing.T, text string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		at := regexp.MustCompile("(?m)" + p).FindStringIndex(text)
		if at == nil {
			t.Errorf("no line like %q behind those before", p)
			return
		}
		text = text[at[1]:]
	}
}

// TestTraceText follows Linux as it initializes a virtio disk and reads from it.
func TestTraceText(t *testing.T) {
	begin := time.Now()
	text := traced(t, "virtio-blk0:reg+cmd+irq+state", watch.Text)
	const (
		at   = `^ +\d+\.\d{6} virtio-blk0 +`
		from = ` +cpu0 0xffffffff[0-9a-f]{8} `
	)
	inOrder(t, text,
		at+`reg    R16 Vendor ID = 0x1af4`+from+`\w+\+0x`,
		at+`reg    W8 device_status = 0x1 \{ACKNOWLEDGE\}`+from+`iowrite8\+0x`,
		at+`state  features 0x[0-9a-f]+: .*SEG_MAX.*FLUSH.*EVENT_IDX VERSION_1`,
		at+`state  queue 0: enabled with 256 descriptors`,
		at+`state  driver is ready`,
		at+`reg    W16 queue_notify\[0\] = 0x0`,
		at+`cmd    q0 tag \d+ IN lba 24\+8 \{type=0x0 sector=0x18`,
		at+`done   q0 tag \d+ IN lba 24\+8 -> OK \(0x0\)`,
		at+`irq    MSI 1`,
		at+`cmd    q0 tag \d+ OUT lba 40\+8`,
		at+`done   q0 tag \d+ OUT lba 40\+8 -> OK \(0x0\)`)
	last, most := -1.0, time.Since(begin).Seconds()
	for line := range strings.Lines(text) {
		var now float64
		if _, err := fmt.Sscanf(line, "%f", &now); err != nil || now < 0 || now > most {
			t.Fatalf("no time, or not one of the last %v s, in %q", most, line)
		}
		last = max(last, now)
	}
	if last < 0.5 {
		t.Errorf("the trace ends at %v s", last)
	}
	if t.Failed() {
		t.Log(text[:min(len(text), 20000)])
	}
}

// TestTraceJSON checks each line of a trace, and that a request's transfers stand between its beginning and its end.
func TestTraceJSON(t *testing.T) {
	text := traced(t, "virtio-blk0:reg+cmd+dma+irq", watch.JSON)
	kinds := map[string]int{}
	order := ""
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		var e struct {
			NS                         int64
			Device, Kind, Name, Op     string
			CPU                        *int
			LBA                        *uint64
			RIP, Symbol, Status, Value string
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		kinds[e.Kind]++
		switch {
		case e.Device != "virtio-blk0" || e.NS <= 0:
			t.Fatalf("line %s", lines.Text())
		case e.Kind == "reg" && (e.CPU == nil || *e.CPU != 0 || e.RIP == "" || e.Symbol == "" || e.Op == "" || e.Value == "" || e.Name == ""):
			t.Fatalf("a register access without its place: %s", lines.Text())
		case e.Kind == "cmd" && e.LBA != nil && *e.LBA == 24:
			order = "cmd"
		case order != "" && !strings.HasSuffix(order, "irq"):
			order += " " + e.Kind
			if e.Kind == "done" {
				order += "=" + e.Status
			}
		}
	}
	for _, k := range []string{"reg", "cmd", "done", "dma", "irq"} {
		if kinds[k] == 0 {
			t.Errorf("no event of kind %s", k)
		}
	}
	if order != "cmd dma dma dma done=OK irq" {
		t.Errorf("the read is %q", order)
	}
}

// TestTracePerfetto checks that each queue and interrupt line has a track of its own.
func TestTracePerfetto(t *testing.T) {
	text := traced(t, "virtio-blk0:cmd+irq+state", watch.Perfetto)
	var file struct {
		TraceEvents []struct {
			Name, Ph string
			TS, Dur  float64
			PID, TID int
			Args     map[string]any
		}
	}
	if err := json.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	tracks, used := map[string]int{}, map[int]int{}
	until := map[int]float64{}
	for _, e := range file.TraceEvents {
		if e.Ph == "M" {
			tracks[e.Args["name"].(string)] = e.TID
			continue
		}
		used[e.TID]++
		if e.Ph == "X" {
			if e.TS < until[e.TID] {
				t.Errorf("slices of track %d overlap at %v", e.TID, e.TS)
			}
			until[e.TID] = e.TS + e.Dur
		}
	}
	for _, name := range []string{"virtio-blk0", "queue 0", "MSI 1", "state"} {
		if id, ok := tracks[name]; !ok || id != 0 && used[id] == 0 {
			t.Errorf("no track %q with events; tracks %v", name, tracks)
		}
	}
}

// strictScript exercises all kinds of devices.
const strictScript = `
waitfor test -b /dev/vda; waitfor test -b /dev/sda; waitfor test -b /dev/nvme0n1
for d in vda sda nvme0n1; do
	verify /dev/$d 512k >/dev/null
	blkdiscard -o 0 -l 65536 /dev/$d 2>/dev/null
done
for i in 0 1; do ip link set eth$i up; ip addr add 10.0.2.1$i/24 dev eth$i; done
ping -c 2 -W 1 10.0.2.2 >/dev/null
head -c 16 /dev/hwrng >/dev/null
check alive true
`

// linuxBreaches are what drivers of Linux 6.1 do against the specifications.
var linuxBreaches = []string{
	"AHCI 1.3.1, 10.3.1: PxCMD.ST set without a device",                      // ports without drives are started too
	"82574 datasheet, 10.2.5.1: the receiver is enabled without a ring",      // as part of flushing the descriptor rings
	"82574 datasheet, 10.2.5.9: RDH[0] is written while the unit is enabled", //
	"82574 datasheet, 10.2.1: read of 4 bytes at 0xfc",                       // a register of other adapters
	"e1000e: register table: access to offset 0xfc",                          //
}

// TestStrictLinux lets the devices judge Linux's drivers. They find what is known, and nothing else.
func TestStrictLinux(t *testing.T) {
	g := guest{script: strictScript, programs: []string{"fio", "ip"}, Config: machine.Config{
		Disks: []machine.Disk{disk(t, "mem:4M,if=virtio"), disk(t, "mem:4M,if=ahci"), disk(t, "mem:4M,if=nvme")},
		NICs:  []network.Options{nic(t, "user"), nic(t, "hub,model=e1000e")},
	}}
	c, screen := g.config(t)
	strict := &watch.Strict{Report: func(e *watch.Event) {
		s := e.Clause + ": " + e.Name
		if !slices.ContainsFunc(linuxBreaches, func(known string) bool { return strings.HasPrefix(s, known) }) {
			t.Errorf("%s: %s", e.Device, s)
		}
	}}
	c.Watch = &machine.Watch{Strict: strict}
	start(t, c, screen)()
	g.judge(t, screen.String())
	if strict.Count() == 0 {
		t.Error("nothing was found: is anybody looking?")
	}
}

// TestStrictStop has a guest misuse a capability of PCI configuration space, and looks at where the machine halts.
func TestStrictStop(t *testing.T) {
	f := rng.New(rng.Options{Name: "virtio-rng0"}).Function()
	window := 0
	for off := int(f.Config(pci.RegCapPtr, 1)); off != 0; off = int(f.Config(off+1, 1)) {
		if f.Config(off, 1) == pci.CapVendor && f.Config(off+3, 1) == 5 {
			window = off
		}
	}
	g := guest{
		script: assign("at", window) + `
f=/sys/bus/pci/devices/0000:00:01.0/config
printf '\004' | dd of=$f bs=1 seek=$((at+4)) conv=notrunc 2>/dev/null
printf '\003\000\000\000' | dd of=$f bs=4 seek=$(((at+12)/4)) conv=notrunc 2>/dev/null
echo BEFORE
dd if=$f bs=4 skip=$(((at+16)/4)) count=1 of=/dev/null 2>/dev/null
echo AFTER
`,
		Config: machine.Config{Cmdline: "nokaslr", CPUs: 2},
	}
	c, screen := g.config(t)
	symbols, err := perf.Open(c.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	var report string
	c.Watch = &machine.Watch{
		Strict: &watch.Strict{}, Symbol: symbols.Name,
		Stopped: func(s string) { report = s },
	}
	m, err := machine.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
	defer cancel()
	o, err := m.Run(ctx)
	if err != nil || o.Cause != machine.Breach || !strings.Contains(o.Detail, "virtio-rng0: cap.length 3") {
		t.Errorf("ended with %v %s, %v", o.Cause, o.Detail, err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if text := screen.String(); !strings.Contains(text, "BEFORE") || strings.Contains(text, "AFTER") {
		t.Errorf("the guest has not halted where it should:\n%s", text)
	}
	inOrder(t, report,
		`^dfemu: halted at \d+\.\d+ s by virtio-rng0: cap\.length 3: must be 1, 2 or 4 \[virtio 1\.2, 4\.1\.4\.9\]`,
		`^cpu\d, which accessed the device at 0xffffffff[0-9a-f]+ pci_conf1_read\+0x`,
		`^  RIP=ffffffff[0-9a-f]{8} pci_conf1_read\+0x`,
		`RAX=[0-9a-f]{16}`, `CR3=[0-9a-f]+`,
		`^registers of virtio-rng0`,
		`^  device_status = 0x\w+  \{ACKNOWLEDGE`,
		`^  num_queues = 0x1`)
	if t.Failed() {
		t.Logf("report:\n%s", report)
	}
}
