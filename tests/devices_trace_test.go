package tests

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

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
		at+`cmd    q0 tag \d+ IN lba 24\+8 \{type=0x0 sector=0x18.*\}`+from+`iowrite16\+0x`,
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
